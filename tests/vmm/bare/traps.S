# Exceptions: causes, what mtval holds, delegation to S-mode, and that the machine goes on after
# each. Prints mcause and mtval.
.include "bare.inc"

main:
    la t0, trap
    csrw mtvec, t0
    li s2, 0x11000000       # no device, no memory
    put "illegal "
    .word 0xffffffff
    put "\nillegal csr "
    csrrw zero, 0x8ff, zero
    put "\nread-only csr "
    csrrw zero, 0xf14, t0
    put "\nload nowhere "
    .option push
    .option norvc
    ld t0, 0(s2)
    put "\nstore nowhere "
    sd t0, 8(s2)
    .option pop
    put "\nexecute nowhere "
    la s9, 1f
    jr s2
1:  put "\necall "
    ecall
    put "\nto S-mode "
    li t0, 1 << 2
    csrw medeleg, t0
    la t0, s_trap
    csrw stvec, t0
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    la t0, user
    csrw mepc, t0
    li t0, 3 << 11
    csrc mstatus, t0
    mret
user:
    .word 0xffffffff        # delegated: S-mode's handler
    ecall                   # not delegated: M-mode's
1:  j 1b

.balign 4
s_trap:
    put "scause "
    csrr a0, scause
    call puthex
    csrr a0, sstatus
    andi a0, a0, 0x100      # came from U-mode: 0
    call puthex
    csrr t0, sepc
    addi t0, t0, 4
    csrw sepc, t0
    sret

.balign 4
trap:
    csrr a0, mcause
    call puthex
    csrr a0, mtval
    call puthex
    csrr t0, mcause
    li t1, 8                # the ecall of user mode ends
    beq t0, t1, end
    li t1, 1
    beq t0, t1, 1f
    csrr t0, mepc
    addi t0, t0, 4
    csrw mepc, t0
    mret
1:  csrw mepc, s9
    mret
end:
    put "\ndone\n"
    fail 42
