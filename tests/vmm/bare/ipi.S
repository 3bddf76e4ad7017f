# Software interrupts between four harts: each hart prints its number when the one before has rung
# its msip, three times round; then all count one variable up with atomic additions.
.equ HAS_OTHER, 1
.include "bare.inc"

.equ HARTS, 4
.equ ROUNDS, 3
.equ ADDS, 1000

main:
    li s2, 0
    call listen
    fence
    li t0, CLINT            # hart 0 begins by ringing itself
    li t1, 1
    sw t1, 0(t0)
    j wait

other:
    csrr s2, mhartid
    li t0, HARTS
    bgeu s2, t0, idle
    call listen
    j wait
idle:
    wfi
    j idle

listen:
    la t0, interrupt
    csrw mtvec, t0
    li t0, 1 << 3
    csrw mie, t0
    li s3, 0                # times this hart was rung
    ret

# The order is given by who rings whom, so nothing else is needed for the printing.
wait:
1:  csrci mstatus, 8         # wfi ends for an interrupt that is not enabled, too
    li t0, ROUNDS
    bge s3, t0, 1f
    wfi
    csrsi mstatus, 8
    j 1b
1:

    la t0, counter
    li t1, ADDS
    li t2, 1
2:  amoadd.d zero, t2, (t0)
    addi t1, t1, -1
    bnez t1, 2b
    fence
    la t0, finished
    amoadd.w zero, t2, (t0)
    bnez s2, idle
3:  lw t1, 0(t0)
    li t2, HARTS
    bne t1, t2, 3b
    fence
    put "sum "
    la t0, counter
    ld a0, 0(t0)
    call puthex
    put "\n"
    power_off

.balign 4
interrupt:
    csrr t0, mcause
    li t1, (1 << 63) + 3
    bne t0, t1, trap_unexpected
    slli t0, s2, 2
    li t1, CLINT
    add t0, t0, t1
    sw zero, 0(t0)
    addi s3, s3, 1
    put "hart "
    addi a0, s2, '0'
    call putc
    li a0, '\n'
    call putc
    # The next one; after the last round of the last hart, nobody.
    addi t0, s2, 1
    li t1, HARTS
    bltu t0, t1, 1f
    li t1, ROUNDS
    beq s3, t1, 2f
    li t0, 0
1:  slli t0, t0, 2
    li t1, CLINT
    add t0, t0, t1
    li t1, 1
    sw t1, 0(t0)
2:  mret

.bss
.balign 8
counter: .skip 8
finished: .skip 4
.text
