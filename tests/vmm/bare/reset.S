# Resets the board once through the test device. A mark in memory beyond what is loaded tells the
# second start from the first; the reset loads this program again.
.include "bare.inc"

main:
    la t0, changed
    lw t1, 0(t0)
    li t2, 7
    bne t1, t2, wrong
    sw zero, 0(t0)
    li s2, 0x80400000
    ld t0, 0(s2)
    li t1, 0x6b72616d
    beq t0, t1, second
    sd t1, 0(s2)
    put "first start\n"
    li t0, 0x7777
    j power
second:
    put "second start\n"
    power_off
wrong:
    put "not loaded again\n"
    fail 8

.data
.balign 4
changed: .word 7
