# Sv39: S-mode code behind page tables. Two virtual pages show one frame; a page that is not mapped,
# one that is read-only, one without execution and one for user mode fault with cause and address; a
# changed entry counts after sfence.vma. satp is switched between two tables.
.include "bare.inc"

.equ V, 1
.equ R, 2
.equ W, 4
.equ X, 8
.equ U, 16
.equ AD, 0xc0

# Entry `index` of the table at label `table`: the frame of label `target`.
.macro map table, index, target, flags
    la t0, \table
    la t1, \target
    srli t1, t1, 12
    slli t1, t1, 10
    ori t1, t1, \flags
    li t2, \index * 8
    add t0, t0, t2
    sd t1, 0(t0)
.endm

# An instruction at which a fault is expected; the handler goes on after it (all are 4 bytes long).
.macro probe name, insn:vararg
    put "\name "
    .option push
    .option norvc
    \insn
    .option pop
.endm

main:
    la t0, trap
    csrw mtvec, t0
    csrw medeleg, zero
    li t0, -1               # PMP: S-mode may use all memory
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0

    # Gigapages: devices and RAM as they are. Small pages at 0x40000000.
    la t0, root
    li t1, V | R | W | AD
    sd t1, 0(t0)
    li t1, (0x80000 << 10) | V | R | W | X | AD
    sd t1, 16(t0)
    map root, 1, middle, V
    map middle, 0, leaf, V
    map leaf, 0, frame_a, V | R | W | AD
    map leaf, 1, frame_a, V | R | AD
    map leaf, 3, frame_a, V | R | W | AD | U
    map leaf, 4, frame_b, V | R | W | AD

    # The second root: the same, but that 0x40000000 shows the other frame.
    la t0, root2
    li t1, V | R | W | AD
    sd t1, 0(t0)
    li t1, (0x80000 << 10) | V | R | W | X | AD
    sd t1, 16(t0)
    map root2, 1, middle2, V
    map middle2, 0, leaf2, V
    map leaf2, 0, frame_b, V | R | W | AD

    la t0, root
    srli t0, t0, 12
    li t1, 8
    slli t1, t1, 60
    or s2, t0, t1
    la t0, root2
    srli t0, t0, 12
    or s3, t0, t1
    csrw satp, s2
    sfence.vma
    la t0, supervisor
    csrw mepc, t0
    li t0, 3 << 11
    csrc mstatus, t0
    li t0, 1 << 11
    csrs mstatus, t0
    mret

supervisor:
    put "in S-mode\n"
    li s4, 0x40000000
    li s5, 0x40001000
    li s6, 0x40002000       # nothing there
    li s7, 0x40003000       # user mode's
    li t0, 0x1122334455667788
    sd t0, 0x10(s4)
    ld a0, 0x10(s5)         # the same frame
    call puthex
    put "\n"
    li t0, 0x01020304
    li t1, 0x40000ffc
    sw t0, 0(t1)
    slli t0, t0, 4
    sw t0, 0(s4)
    ld a0, 0(t1)            # from two pages
    call puthex
    put "\n"
    li t5, 0x40000ffc
    probe "store across", sd t0, 0(t5)
    probe "load nothing", ld t3, 0x123(s6)
    probe "store nothing", sb t3, 0x321(s6)
    probe "store read-only", sw t3, 0x40(s5)
    probe "amo read-only", amoadd.w t3, t3, (s5)
    probe "load user's", lw t3, 8(s7)
    li s8, -0x40000000
    slli s8, s8, 10         # not a sign extension of 39 bits
    probe "not canonical", lb t3, 0(s8)
    put "execute data "
    la s9, 1f
    jr s4
1:  put "execute nothing "
    la s9, 1f
    jr s6
1:
    csrs sstatus, s10
    li t0, 1 << 18          # SUM: user pages may be read
    csrs sstatus, t0
    ld a0, 0x10(s7)
    call puthex
    put "with SUM\n"
    li t0, 1 << 18
    csrc sstatus, t0

    csrw satp, s3
    sfence.vma
    li t0, 77
    sd t0, 0x10(s4)
    put "other table "
    ld a0, 0x10(s4)
    call puthex
    put "\n"
    probe "store not mapped here", sd t0, 0(s5)
    csrw satp, s2
    sfence.vma
    ld a0, 0x10(s4)
    call puthex
    li s11, 0x40004000      # frame_b from the first table
    ld a0, 0x10(s11)
    call puthex
    put "\n"

    # The read-only page becomes writable.
    map leaf, 1, frame_a, V | R | W | AD
    sfence.vma s5, zero
    li t0, 5
    sd t0, 0(s5)
    ld a0, 0(s4)
    call puthex
    put "after sfence\n"

    # A gigapage whose frame is not aligned, and a reserved entry.
    la t0, root
    li t1, (0x80001 << 10) | V | R | W | X | AD
    sd t1, 24(t0)
    li t1, V | W
    sd t1, 32(t0)
    sfence.vma
    li s6, 0xc0000000
    probe "misaligned superpage", ld t3, 0(s6)
    li s6, 0x100000000
    probe "reserved entry", ld t3, 0(s6)
    put "done\n"
    li a7, 93
    ecall

# Prints cause and address; an ecall ends.
.balign 4
trap:
    csrr t4, mcause
    li t0, 9
    beq t4, t0, finish
    mv a0, t4
    call puthex
    csrr a0, mtval
    call puthex
    put "\n"
    csrr t0, mepc
    csrr t1, mcause
    li t2, 12
    beq t1, t2, 1f
    addi t0, t0, 4
    csrw mepc, t0
    mret
1:  csrw mepc, s9           # a fetch: back to where s9 says
    mret

finish:
    power_off

.bss
.balign 4096
root: .skip 4096
middle: .skip 4096
leaf: .skip 4096
root2: .skip 4096
middle2: .skip 4096
leaf2: .skip 4096
frame_a: .skip 4096
frame_b: .skip 4096
.text
