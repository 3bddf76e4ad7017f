# Physical memory protection: a page that S-mode may not touch, one that it may only read, a range
# by top address, a locked entry that binds M-mode too, and M-mode's loads with MPRV.
.include "bare.inc"

.macro probe name, insn:vararg
    put "\name "
    .option push
    .option norvc
    \insn
    .option pop
    put "\n"
.endm

main:
    la t0, trap
    csrw mtvec, t0
    csrw medeleg, zero
    la s2, secret
    la s3, constant
    la s4, range
    srli t0, s2, 2
    ori t0, t0, 0x1ff       # NAPOT: 4 KiB
    csrw pmpaddr0, t0
    srli t0, s3, 2
    ori t0, t0, 0x1ff
    csrw pmpaddr1, t0
    srli t0, s4, 2
    csrw pmpaddr2, t0       # where the range begins
    addi t0, t0, 64 / 4
    csrw pmpaddr3, t0       # and ends: 64 bytes
    li t0, -1
    csrw pmpaddr4, t0
    #       4: all RWX    3: TOR none   2: off      1: NAPOT R    0: NAPOT none
    li t0, (0x1f << 32) | (0x08 << 24) | (0 << 16) | (0x19 << 8) | 0x18
    csrw pmpcfg0, t0
    sfence.vma
    li t0, 0x55
    sd t0, 0(s2)            # M-mode may, as long as nothing is locked
    sd t0, 0(s3)
    sd t0, 0(s4)

    # M-mode with the rights of S-mode.
    li t0, (1 << 17) | (1 << 11)
    li t1, 3 << 11
    csrc mstatus, t1
    csrs mstatus, t0
    li a0, 0
    probe "MPRV load", ld a0, 0(s2)

    la t0, supervisor
    csrw mepc, t0
    li t1, 3 << 11
    csrc mstatus, t1
    li t0, 1 << 11
    csrs mstatus, t0
    mret

supervisor:
    probe "load secret", ld t3, 8(s2)
    probe "store secret", sd t3, 16(s2)
    probe "load constant", ld t3, 0(s3)
    probe "store constant", sd t3, 0(s3)
    probe "load range", lw t3, 0(s4)
    probe "load end of range", lw t3, 60(s4)
    probe "load behind range", lw t3, 64(s4)
    probe "load before range", lw t3, -4(s4)
    put "execute secret "
    la s9, 1f
    jr s2
1:  put "execute constant "
    la s9, 1f
    jr s3
1:  put "\n"
    ecall

locked:
    # Lock entry 0 without rights: M-mode is bound too, and the entry can no longer be written.
    csrr t0, pmpcfg0
    ori t0, t0, 0x80
    csrw pmpcfg0, t0
    sfence.vma
    probe "locked load", ld t3, 0(s2)
    probe "locked store", sd t3, 0(s2)
    csrr s5, pmpaddr0
    csrw pmpaddr0, zero
    csrr t0, pmpaddr0
    bne s5, t0, wrong
    csrw pmpcfg0, zero
    csrr t0, pmpcfg0
    andi a0, t0, 0xff
    call puthex
    put "stays\n"
    power_off
wrong:
    put "a locked address changed\n"
    fail 6

.balign 4
trap:
    csrr t4, mcause
    li t0, 9
    beq t4, t0, 2f
    li t0, 0x20000          # the handler's own accesses are M-mode's
    csrc mstatus, t0
    mv a0, t4
    call puthex
    # mtval relative to the page, so that the output does not depend on where things lie
    csrr a0, mtval
    li t0, 0xfff
    and a0, a0, t0
    call puthex
    csrr t1, mcause
    li t0, 1
    beq t1, t0, 1f
    csrr t0, mepc
    addi t0, t0, 4
    csrw mepc, t0
    mret
1:  csrw mepc, s9
    mret
2:  la t0, locked
    csrw mepc, t0
    li t0, 3 << 11
    csrs mstatus, t0
    mret

.bss
.balign 4096
secret: .skip 4096
constant: .skip 4096
        .skip 4096 - 128
range:  .skip 4096
.text
