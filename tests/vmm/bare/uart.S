# The serial port by polling, then sending and receiving by interrupts through the PLIC. The input
# line comes back in capitals; `.` ends.
.include "bare.inc"

.equ SOURCE, 10
.equ CLAIM, 0x200004        # of context 0: hart 0, M-mode

main:
    put "polled\n"
    la t0, interrupt
    csrw mtvec, t0
    li t0, PLIC
    li t1, 1
    sw t1, 4 * SOURCE(t0)
    li t1, 1 << SOURCE
    li t2, PLIC + 0x2000
    sw t1, 0(t2)
    li t2, PLIC + 0x200000
    sw zero, 0(t2)
    li t0, UART
    li t1, 1                # FIFOs on
    sb t1, 2(t0)
    li t1, 3                # 8 bits
    sb t1, 3(t0)
    li t1, 2                # transmitter interrupt
    sb t1, 1(t0)
    la s2, message
    li s3, 0                # interrupts taken
    li t0, 1 << 11
    csrw mie, t0
1:  csrci mstatus, 8         # wfi ends for an interrupt that is not enabled, too
    lbu t0, 0(s2)
    beqz t0, 1f
    wfi
    csrsi mstatus, 8
    j 1b
1:
    li t0, 20
    bgeu s3, t0, 2f
    put "too few interrupts\n"
    fail 3
2:  put "type:\n"
    li t0, UART
    li t1, 1                # receiver interrupt
    sb t1, 1(t0)
    csrsi mstatus, 8
3:  wfi
    j 3b

.balign 4
interrupt:
    csrr t0, mcause
    li t1, (1 << 63) + 11
    bne t0, t1, trap_unexpected
    li s4, PLIC + CLAIM
    lwu s5, 0(s4)
    beqz s5, 9f
    addi s3, s3, 1
    li t0, SOURCE
    bne s5, t0, trap_unexpected
    li t0, UART
    lbu t1, 1(t0)
    andi t1, t1, 1
    bnez t1, receive
    lbu t1, 2(t0)           # reading the identification ends a transmitter interrupt
    lbu t1, 0(s2)
    beqz t1, 1f
    sb t1, 0(t0)
    addi s2, s2, 1
    j 8f
1:  sb zero, 1(t0)
    j 8f
receive:
    lbu t1, 5(t0)
    andi t1, t1, 1
    beqz t1, 8f
    lbu a0, 0(t0)
    li t1, '.'
    beq a0, t1, done
    li t1, 'a'
    blt a0, t1, 2f
    addi a0, a0, 'A' - 'a'
2:  call putc
    li t0, UART
    j receive
8:  sw s5, 0(s4)
9:  mret

done:
    put "\ndone\n"
    power_off

.section .rodata
message: .asciz "sent by interrupt: the quick brown fox\n"
