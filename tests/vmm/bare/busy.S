# Keeps every device of the board between states, for tests of saved state: bytes are sent one by
# one by interrupt, the clock's alarm and two harts' timers fire at odd intervals, the harts ring
# each other, registers hold values that nobody resets. Whatever is read, and when each interrupt
# comes, goes into a sum that is printed all the time. Never ends.
.equ HAS_OTHER, 1
.include "bare.inc"

.equ RTC, 0x101000
.equ CLAIM, PLIC + 0x200004
.equ TICK0, 377             # 37.7 us
.equ TICK1, 291

# Adds a register to the sum in s11: rotate, then xor.
.macro mix reg
    slli t6, s11, 7
    srli s11, s11, 57
    or s11, s11, t6
    xor s11, s11, \reg
.endm

main:
    la t0, interrupt
    csrw mtvec, t0
    li s11, 1
    li s10, 0               # characters left of the number being printed
    # Serial port.
    li s0, UART
    li t0, 0x83
    sb t0, 3(s0)
    li t0, 0x34
    sb t0, 0(s0)
    li t0, 0x12
    sb t0, 1(s0)
    li t0, 0x03
    sb t0, 3(s0)
    li t0, 0x81             # FIFOs, trigger at 8
    sb t0, 2(s0)
    li t0, 0x0b
    sb t0, 4(s0)
    li t0, 0x5a
    sb t0, 7(s0)
    li t0, 0x02
    sb t0, 1(s0)
    # Interrupt controller: both sources, threshold below them.
    li t0, PLIC
    li t1, 3
    sw t1, 40(t0)
    li t1, 5
    sw t1, 44(t0)
    li t2, PLIC + 0x2000
    li t1, 3 << 10
    sw t1, 0(t2)
    li t2, PLIC + 0x200000
    li t1, 2
    sw t1, 0(t2)
    # Both clocks are set to times of their own.
    li s0, RTC
    li t0, 0x12
    sw t0, 4(s0)
    li t0, 0x3456789
    sw t0, 0(s0)
    call alarm
    li t0, CLINT + MTIME
    li t1, 1 << 40
    sd t1, 0(t0)
    # Timer.
    ld t1, 0(t0)
    addi t1, t1, TICK0
    li t0, CLINT + MTIMECMP
    sd t1, 0(t0)
    # Floating point with a mode of its own.
    li t0, 1 << 13
    csrs mstatus, t0
    csrwi frm, 1
    li t0, 3
    fcvt.d.l fs0, t0
    li t0, 10
    fcvt.d.l fs1, t0
    li t0, (1 << 3) | (1 << 7) | (1 << 11)
    csrw mie, t0
    csrsi mstatus, 8

# What happens between interrupts.
work:
    csrci mstatus, 8
    fdiv.d fs0, fs0, fs1
    fadd.d fs0, fs0, fs1
    fmv.x.d t0, fs0
    mix t0
    csrrci t0, fflags, 1
    mix t0
    csrr t0, mscratch
    add t0, t0, s11
    csrw mscratch, t0
    li s0, UART
    lbu t0, 6(s0)
    mix t0
    lbu t0, 7(s0)
    addi t1, t0, 3
    sb t1, 7(s0)
    mix t0
    lbu t0, 1(s0)
    mix t0
    lbu t0, 3(s0)
    mix t0
    lbu t0, 4(s0)
    mix t0
    li t0, 0x02             # one byte may be sent
    sb t0, 1(s0)
    xori t0, s11, 0x80      # the divisor's latch stays open or closed until the next turn
    ori t0, t0, 0x03
    andi t0, t0, 0x83
    sb t0, 3(s0)
    andi t0, t0, 0x80
    beqz t0, 1f
    lbu t0, 0(s0)
    mix t0
    addi t0, t0, 1
    sb t0, 0(s0)
    lbu t0, 1(s0)
    mix t0
    addi t0, t0, 3
    sb t0, 1(s0)
1:  andi t0, s11, 0x1f      # modem outputs, and now and then the loop back to the receiver
    sb t0, 4(s0)
    andi t0, s11, 3
    bnez t0, 1f
    lbu t0, 5(s0)
    mix t0
    lbu t0, 0(s0)
    mix t0
1:
    li s0, PLIC + 0x1000
    lw t0, 0(s0)
    mix t0
    li s0, PLIC
    lw t0, 40(s0)
    mix t0
    lw t0, 44(s0)
    mix t0
    li s0, PLIC + 0x2000
    lw t0, 0(s0)
    mix t0
    li s0, PLIC + 0x200000
    lw t0, 0(s0)
    mix t0
    li s0, RTC
    lw t0, 0(s0)
    lw t1, 4(s0)
    mix t0
    mix t1
    lw t0, 8(s0)
    mix t0
    lw t0, 12(s0)
    mix t0
    la s0, rung
    lw t0, 0(s0)
    mix t0
    la s0, word             # a reservation is held or not
    lr.w t0, (s0)
    addi t0, t0, 1
    csrsi mstatus, 8
    nop
    csrci mstatus, 8
    la s0, word             # interrupts change s0
    sc.w t1, t0, (s0)
    mix t1
    csrsi mstatus, 8
    j work

# Sets the alarm 61 us ahead.
alarm:
    li s0, RTC
    lwu t0, 0(s0)
    lwu t1, 4(s0)
    slli t1, t1, 32
    or t0, t0, t1
    li t1, 61000
    add t0, t0, t1
    srli t1, t0, 32
    sw t1, 12(s0)
    sw t0, 8(s0)
    li t1, 1
    sw t1, 16(s0)
    ret

.balign 4
interrupt:
    csrr t0, mcause
    bgez t0, trap_unexpected
    mix t0
    csrr t1, mepc
    mix t1
    csrr t1, mcycle
    mix t1
    rdtime t1
    mix t1
    slli t0, t0, 1
    srli t0, t0, 1
    li t1, 7
    beq t0, t1, timer
    li t1, 3
    beq t0, t1, software
    li t1, 11
    bne t0, t1, trap_unexpected

    li s9, CLAIM
    lwu s8, 0(s9)
    mix s8
    li t0, 11
    beq s8, t0, rings
    li t0, 10
    bne s8, t0, claimed
    li s0, UART
    lbu t0, 2(s0)
    mix t0
    li t0, 0x03
    sb t0, 3(s0)
    bnez s10, 1f
    mv s7, s11              # the next number
    li s10, 17
1:  addi s10, s10, -1
    li t0, '\n'
    beqz s10, 2f
    srli t0, s7, 60
    slli s7, s7, 4
    addi t0, t0, 'a'
2:  sb t0, 0(s0)
    sb zero, 1(s0)
    j claimed
rings:
    li s0, RTC
    li t0, 1
    sw t0, 28(s0)
    call alarm
claimed:
    sw s8, 0(s9)
    mret

timer:
    li s0, CLINT + MTIMECMP
    ld t0, 0(s0)
    addi t0, t0, TICK0
    sd t0, 0(s0)
    li s0, CLINT            # hart 1 is rung
    li t0, 1
    sw t0, 4(s0)
    mret

software:
    li s0, CLINT
    sw zero, 0(s0)
    mret

# Hart 1: counts, and rings hart 0 with its own timer.
other:
    la t0, interrupt1
    csrw mtvec, t0
    li s11, 5
    li s0, CLINT + MTIME
    ld t1, 0(s0)
    li t0, CLINT + MTIMECMP
    addi t1, t1, TICK1
    sd t1, 8(t0)
    li t0, (1 << 3) | (1 << 7)
    csrw mie, t0
    csrsi mstatus, 8
1:  wfi
    j 1b

.balign 4
interrupt1:
    csrr t0, mcause
    bgez t0, trap_unexpected
    slli t0, t0, 1
    srli t0, t0, 1
    li t1, 7
    beq t0, t1, 1f
    li s0, CLINT
    sw zero, 4(s0)
    la s0, rung
    li t0, 1
    amoadd.w zero, t0, (s0)
    mret
1:  li s0, CLINT + MTIMECMP
    ld t0, 8(s0)
    addi t0, t0, TICK1
    sd t0, 8(s0)
    li s0, CLINT
    li t0, 1
    sw t0, 0(s0)
    mret

.bss
.balign 8
rung: .skip 4
word: .skip 4
.text
