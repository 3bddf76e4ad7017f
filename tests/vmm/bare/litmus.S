# Litmus tests of the memory model (RVWMO, volume I, chapter 17), as rings of HARTS harts. KIND:
#
#   SB      hart h: x[h] = 1; fence; r = x[h + 1]                      not all r are 0
#   SBAMO   the same with an atomic swap (aqrl) in place of store and fence
#   MP      hart 0: x[0] = 1; fence; x[1] = 1    hart h: r = x[h]; fence; x[h + 1] = r
#           last hart: r = x[h]; fence; q = x[0]                       not r = 1, q = 0
#   MPAMO   the same with release and acquire of atomic operations in place of fences
#   LB      hart h: r = x[h]; fence; x[h + 1] = 1                      not all r are 1
#   IRIW    4 harts; 0: x[0] = 1   1: x[1] = 1   2: r = x[0]; fence; q = x[1]
#           3: r = x[1]; fence; q = x[0]                               not r, q, r, q = 1, 0, 1, 0
#
# A round has cache lines of its own. A batch of rounds is run through by all harts; before each round
# a hart waits for the next one to come to it too, but not for long: it may have no host processor.
# After a batch hart 0 looks at all results. BATCHES are run; the last line says how often each
# outcome was seen: a digit for each hart, the last hart's first, r + 2 q. A forbidden one makes the
# program fail with code 1. With NOFENCE defined there are no fences: for seeing that the test can
# fail.
.equ HAS_OTHER, 1
.include "bare.inc"

.equ SB, 1
.equ SBAMO, 2
.equ MP, 3
.equ MPAMO, 4
.equ LB, 5
.equ IRIW, 6

.equ BATCH, 2048
.equ CELL, 64
.equ ROUND, CELL * HARTS
.equ LAST, HARTS - 1
.equ PATIENCE, 40
.equ ALL_R, 0x55 & ((1 << (2 * HARTS)) - 1)

.macro ordered from, to
.ifndef NOFENCE
    fence \from, \to
.endif
.endm

main:
    li s2, 0
    j run
other:
    csrr s2, mhartid
    li t0, HARTS
    bltu s2, t0, run
idle:
    wfi
    j idle

run:
    li s11, 0
    li s3, 0                    # batches done
    la t0, roles
    slli t1, s2, 3
    add t0, t0, t1
    ld s4, 0(t0)                # what this hart does
    la s5, results
    li t0, 16 * BATCH
    mul t0, t0, s2
    add s5, s5, t0
    slli s6, s2, 6              # of x[h] in a round
    addi t0, s2, 1
    li t1, HARTS
    remu t0, t0, t1
    slli s7, t0, 6              # of x[h + 1]
    la s9, progress
    add s8, s9, s6              # the round that this hart is in,
    add s9, s9, s7              # and the next one
    li s10, 0
batch:
    call barrier
    la a0, cells
    li a2, ROUND * BATCH
    add a2, a2, a0
    mv a1, s5
    jalr s4
    call barrier
    bnez s2, 1f
    call look
1:  addi s3, s3, 1
    li t0, BATCHES
    bne s3, t0, batch
    bnez s2, idle
    j report

# The loop of a role: a0 is the round; t1 becomes r, t2 q.
.macro begin
1:  addi s10, s10, 1
    sd s10, 0(s8)
    li t1, PATIENCE
2:  ld t0, 0(s9)
    addi t1, t1, -1
    bgeu t0, s10, 3f
    bnez t1, 2b
3:  add t3, a0, s6
    add t4, a0, s7
    li t0, 1
    li t1, 0
    li t2, 0
.endm
.macro end
    sd t1, 0(a1)
    sd t2, 8(a1)
    addi a1, a1, 16
    addi a0, a0, ROUND
    bltu a0, a2, 1b
    ret
.endm

.if KIND == SB
.equ MASK, ALL_R
.equ BAD, 0
role0: role1: role2: role3:
    begin
    sw t0, 0(t3)
    ordered rw, rw
    lw t1, 0(t4)
    end
.endif

.if KIND == SBAMO
.equ MASK, ALL_R
.equ BAD, 0
role0: role1: role2: role3:
    begin
.ifndef NOFENCE
    amoswap.w.aqrl zero, t0, (t3)
.else
    sw t0, 0(t3)
.endif
    lw t1, 0(t4)
    end
.endif

.if KIND == LB
.equ MASK, ALL_R
.equ BAD, ALL_R
role0: role1: role2: role3:
    begin
    lw t1, 0(t3)
    ordered r, w
    sw t0, 0(t4)
    end
.endif

.if KIND == MP || KIND == MPAMO
.equ MASK, 3 << (2 * LAST)
.equ BAD, 1 << (2 * LAST)
.endif

.if KIND == MP
role0:
    begin
    sw t0, 0(t3)
    ordered w, w
    sw t0, 0(t4)
    end
chain:
    begin
    lw t1, 0(t3)
    ordered rw, w
    sw t1, 0(t4)
    end
tail:
    begin
    lw t1, 0(t3)
    ordered r, r
    lw t2, 0(a0)
    end
.endif

.if KIND == MPAMO
role0:
    begin
    sw t0, 0(t3)
    amoswap.w.rl zero, t0, (t4)
    end
chain:
    begin
    amoor.w.aq t1, zero, (t3)
    amoswap.w.rl zero, t1, (t4)
    end
tail:
    begin
    lr.w.aq t1, (t3)
    lw t2, 0(a0)
    end
.endif

.if KIND == MP || KIND == MPAMO
.if HARTS == 2
.equ role1, tail
.equ role2, tail
.else
.equ role1, chain
.equ role2, chain
.endif
.equ role3, tail
.endif

.if KIND == IRIW
.equ MASK, 0xf0
.equ BAD, 0x50
role0: role1:
    begin
    sw t0, 0(t3)
    end
role2:
    begin
    lw t1, 0(a0)
    ordered r, r
    lw t2, CELL(a0)
    end
role3:
    begin
    lw t1, CELL(a0)
    ordered r, r
    lw t2, 0(a0)
    end
.endif

# Hart 0: counts the outcomes of a batch, and clears the cells for the next one.
look:
    la a0, results
    la a3, histogram
    li a2, BATCH
1:  li t0, 0                    # the outcome
    li t1, 0
    mv t2, a0
2:  ld t3, 0(t2)
    ld t4, 8(t2)
    slli t4, t4, 1
    or t3, t3, t4
    sll t3, t3, t1
    or t0, t0, t3
    addi t1, t1, 2
    li t4, 16 * BATCH
    add t2, t2, t4
    li t4, 2 * HARTS
    bne t1, t4, 2b
    slli t0, t0, 3
    add t0, t0, a3
    ld t1, 0(t0)
    addi t1, t1, 1
    sd t1, 0(t0)
    addi a0, a0, 16
    addi a2, a2, -1
    bnez a2, 1b
    la a0, cells
    li a2, ROUND * BATCH
    add a2, a2, a0
3:  sd zero, 0(a0)
    addi a0, a0, CELL
    bltu a0, a2, 3b
    ret

report:
    li s4, 0                    # outcome
    li s5, 0                    # forbidden ones
    put "seen"
1:  la t0, histogram
    slli t1, s4, 3
    add t0, t0, t1
    ld s6, 0(t0)
    beqz s6, 4f
    li a0, ' '
    call putc
    li s7, 2 * LAST
2:  srl a0, s4, s7
    andi a0, a0, 3
    addi a0, a0, '0'
    call putc
    addi s7, s7, -2
    bgez s7, 2b
    li a0, ':'
    call putc
    mv a0, s6
    call putdec
    andi t0, s4, MASK
    li t1, BAD
    bne t0, t1, 4f
    add s5, s5, s6
4:  addi s4, s4, 1
    li t0, 1 << (2 * HARTS)
    bne s4, t0, 1b
    put ", forbidden "
    mv a0, s5
    call putdec
    put "\n"
    bnez s5, 5f
    power_off
5:  fail 1

.include "race.inc"

.section .rodata
.balign 8
roles: .dword role0, role1, role2, role3
.bss
.balign 64
cells: .skip ROUND * BATCH
progress: .skip CELL * HARTS
results: .skip 16 * BATCH * HARTS
histogram: .skip 8 * 256
.text
