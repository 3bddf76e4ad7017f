# Harts count the same variables up, each ADDS times, in every way that the architecture has for it;
# a lost update makes a sum too small, and the program fails with code 1. With BROKEN defined the
# operations are not atomic: for seeing that the test can fail.
.equ HAS_OTHER, 1
.include "bare.inc"
.option arch, +zacas

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
    li s10, 0                   # wrong sums
    la s3, ways
next:
    ld s4, 0(s3)                # the way to add one, or the end
    beqz s4, done
    call barrier
    li s5, ADDS
    la a0, counter
    la a1, lock
    li a2, 1
1:  jalr s4
    addi s5, s5, -1
    bnez s5, 1b
    call barrier
    bnez s2, 2f
    call check
2:  call barrier
    addi s3, s3, 16
    j next
done:
    bnez s2, idle
    bnez s10, 3f
    power_off
3:  fail 1

# Hart 0: prints the way's name and sum, clears what it used.
check:
    addi sp, sp, -16
    sd ra, 0(sp)
    ld a0, 8(s3)
    call puts
    li a0, ' '
    call putc
    la t0, counter
    ld a0, 0(t0)
    ld t1, 8(t0)                # amocas.q counts the upper half down
    li t2, ADDS * HARTS
    beq a0, t2, 1f
    addi s10, s10, 1
1:  beqz t1, 2f
    add t1, t1, t2
    beqz t1, 2f
    addi s10, s10, 1
2:  sd zero, 0(t0)
    sd zero, 8(t0)
    call putdec
    put "\n"
    ld ra, 0(sp)
    addi sp, sp, 16
    ret

# a0: counter, a1: lock, a2: 1; a and t registers from a3 and t0 on are free.
.ifdef BROKEN
.macro broken
    ld t0, 0(a0)
    addi t0, t0, 1
    sd t0, 0(a0)
    ret
.endm
.else
.macro broken
.endm
.endif

add_w:
    broken
    amoadd.w zero, a2, (a0)
    ret
add_d:
    broken
    amoadd.d t0, a2, (a0)
    ret
lrsc_w:
    broken
1:  lr.w t0, (a0)
    addiw t0, t0, 1
    sc.w t1, t0, (a0)
    bnez t1, 1b
    ret
lrsc_d:
    broken
1:  lr.d.aq t0, (a0)
    addi t0, t0, 1
    sc.d.rl t1, t0, (a0)
    bnez t1, 1b
    ret
# A lock of swaps, whose holder counts with plain loads and stores.
swap_lock:
    broken
1:  amoswap.w.aq t0, a2, (a1)
    bnez t0, 1b
    ld t0, 0(a0)
    addi t0, t0, 1
    sd t0, 0(a0)
    amoswap.w.rl zero, zero, (a1)
    ret
# The same with a plain load while it is taken, LR/SC to take it, and a fence to give it back.
lrsc_lock:
    broken
1:  lw t0, 0(a1)
    bnez t0, 1b
    lr.w.aq t0, (a1)
    bnez t0, 1b
    sc.w t0, a2, (a1)
    bnez t0, 1b
    ld t0, 0(a0)
    addi t0, t0, 1
    sd t0, 0(a0)
    fence rw, w
    sw zero, 0(a1)
    ret
cas_w:
    broken
    lw t0, 0(a0)
1:  mv t1, t0
    addiw t2, t0, 1
    amocas.w t0, t2, (a0)
    bne t0, t1, 1b
    ret
cas_d:
    broken
    ld t0, 0(a0)
1:  mv t1, t0
    addi t2, t0, 1
    amocas.d.aqrl t0, t2, (a0)
    bne t0, t1, 1b
    ret
# Both halves change: the lower goes up, the upper down.
cas_q:
    broken
    ld a4, 0(a0)
    ld a5, 8(a0)
1:  mv t0, a4
    mv t1, a5
    addi a6, a4, 1
    addi a7, a5, -1
    amocas.q a4, a6, (a0)
    bne a4, t0, 1b
    bne a5, t1, 1b
    ret
# Each hart adds and takes away bits of its own, which must come back as it left them.
bits:
    broken
    li t0, 0x10000
    sll t0, t0, s2
    amoor.w t1, t0, (a1)
    and t1, t1, t0
    bnez t1, 2f
    amoxor.w t1, t0, (a1)
    and t1, t1, t0
    beqz t1, 2f
    amoadd.d zero, a2, (a0)
2:  ret

.include "race.inc"

.macro way name
    .dword \name, 90f
    .section .rodata
90: .asciz "\name"
    .data
.endm
.data
.balign 8
ways:
    way add_w
    way add_d
    way lrsc_w
    way lrsc_d
    way swap_lock
    way lrsc_lock
    way cas_w
    way cas_d
    way cas_q
    way bits
    .dword 0
.bss
.balign 64
counter: .skip 64
lock: .skip 64
.text
