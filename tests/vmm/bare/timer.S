# Machine timer interrupts of the CLINT: five, each 1 ms after the one before, waited for with wfi.
# Then a comparison in the past and one at the end of time.
.include "bare.inc"

.equ TICK, 10000            # 1 ms at 10 MHz

main:
    la t0, interrupt
    csrw mtvec, t0
    li s2, CLINT + MTIMECMP
    li s3, CLINT + MTIME
    li s4, 0
    ld s5, 0(s3)
    li t0, TICK
    add s5, s5, t0
    sd s5, 0(s2)
    li t0, 1 << 7
    csrw mie, t0
1:  csrci mstatus, 8         # wfi ends for an interrupt that is not enabled, too
    li t0, 5
    bge s4, t0, 1f
    wfi
    csrsi mstatus, 8
    j 1b

1:
    li t0, -1
    sd t0, 0(s2)
    csrr t0, mip
    andi t0, t0, 1 << 7
    bnez t0, wrong
    sd zero, 0(s2)
    li t1, 10000            # the bit may take a moment
2:  csrr t0, mip
    andi t0, t0, 1 << 7
    bnez t0, 3f
    addi t1, t1, -1
    bnez t1, 2b
    j wrong
3:  wfi                     # pending, though not enabled in mstatus: goes on at once
    rdtime s6
    ld s7, 0(s3)
    bltu s7, s6, wrong
    put "time agrees\n"
    power_off

wrong:
    put "the timer's pending bit is wrong\n"
    fail 4

.balign 4
interrupt:
    csrr t0, mcause
    li t1, (1 << 63) + 7
    bne t0, t1, trap_unexpected
    ld t0, 0(s3)
    bltu t0, s5, early
    li t0, TICK
    add s5, s5, t0
    sd s5, 0(s2)
    addi s4, s4, 1
    li t0, 5                 # no more after the fifth, however slow the host is
    blt s4, t0, 4f
    li t0, -1
    sd t0, 0(s2)
4:  put "tick "
    addi a0, s4, '0'
    call putc
    li a0, '\n'
    call putc
    mret

early:
    put "early\n"
    fail 5
