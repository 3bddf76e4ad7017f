# Prints a megabyte, polling the transmitter, and counts the times that it was not ready.
.include "bare.inc"

main:
    li s2, 1 << 20
    li s3, UART
    li s4, 0
1:  lbu t1, 5(s3)
    andi t1, t1, 0x20
    bnez t1, 2f
    addi s4, s4, 1
    j 1b
2:  andi a0, s2, 63
    addi a0, a0, ' '
    sb a0, 0(s3)
    addi s2, s2, -1
    bnez s2, 1b
    power_off
