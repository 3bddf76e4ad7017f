/*
 * The floating-point instructions (F, D, Zfh, Zfa) over decoded slots: unboxing, rounding mode,
 * flags and register write around the arithmetic of isa/riscv64/fp.h. One function per operation,
 * `fp_exec_<name>`; false is an illegal instruction (reserved rounding mode). Whether the unit is
 * switched on is checked by the caller.
 */
#pragma once

#include "engine/interp/code.h"
#include "isa/riscv64/fp.h"
#include "isa/riscv64/fp_fast.h"

#define FP_RS1(N) FP_UNBOX_##N(h->f[i->b])
#define FP_RS2(N) FP_UNBOX_##N(h->f[i->imm & 31])
#define FP_RS3(N) FP_UNBOX_##N(h->f[i->imm >> 8 & 31])
#define FP_UNBOX_16(v) fp16_unbox(v)
#define FP_UNBOX_32(v) fp32_unbox(v)
#define FP_UNBOX_64(v) (v)
#define FP_BOX_16(v) fp16_box(v)
#define FP_BOX_32(v) fp32_box(v)
#define FP_BOX_64(v) (v)

/* The rounding mode of an instruction that has one, FP_RM_BAD when it is reserved. */
#define FP_RM_BAD 5u

static inline unsigned fp_exec_rm(const struct rv_hart *h, const struct code_slot *i)
{
    unsigned rm = (unsigned)i->imm >> 16 & 7;
    if (rm == 7)
        rm = h->frm;
    return rm > FP_RMM ? FP_RM_BAD : rm;
}

/* An operation without a rounding mode. `expr` sees flags; `dst` is an lvalue. */
#define FP_PLAIN(name, dst, expr)                                                   \
    static inline bool fp_exec_##name(struct rv_hart *h, const struct code_slot *i) \
    {                                                                               \
        unsigned flags = h->fflags;                                                 \
        uint64_t result = (expr);                                                   \
        dst = result;                                                               \
        h->fflags = (uint8_t)flags;                                                 \
        return true;                                                                \
    }

/* An operation that rounds. `expr` sees rm and flags. */
#define FP_ROUNDED(name, dst, expr)                                                 \
    static inline bool fp_exec_##name(struct rv_hart *h, const struct code_slot *i) \
    {                                                                               \
        unsigned rm = fp_exec_rm(h, i);                                             \
        if (rm == FP_RM_BAD)                                                        \
            return false;                                                           \
        unsigned flags = h->fflags;                                                 \
        uint64_t result = (expr);                                                   \
        dst = result;                                                               \
        h->fflags = (uint8_t)flags;                                                 \
        return true;                                                                \
    }

#define FP_F h->f[i->a]
#define FP_X h->x[i->a]
#define FP_INT h->x[i->b]
#define FP_SX32(v) ((uint64_t)(int64_t)(int32_t)(uint32_t)(v))

/* Everything that exists in each format: N bits, suffix s, FAST the ending of the arithmetic. */
#define FP_FORMAT(N, s, FAST)                                                                      \
    FP_ROUNDED(fadd_##s, FP_F, FP_BOX_##N(fp##N##_add##FAST(FP_RS1(N), FP_RS2(N), rm, &flags)))    \
    FP_ROUNDED(fsub_##s, FP_F, FP_BOX_##N(fp##N##_sub##FAST(FP_RS1(N), FP_RS2(N), rm, &flags)))    \
    FP_ROUNDED(fmul_##s, FP_F, FP_BOX_##N(fp##N##_mul##FAST(FP_RS1(N), FP_RS2(N), rm, &flags)))    \
    FP_ROUNDED(fdiv_##s, FP_F, FP_BOX_##N(fp##N##_div##FAST(FP_RS1(N), FP_RS2(N), rm, &flags)))    \
    FP_ROUNDED(fsqrt_##s, FP_F, FP_BOX_##N(fp##N##_sqrt##FAST(FP_RS1(N), rm, &flags)))             \
    FP_ROUNDED(fmadd_##s, FP_F,                                                                    \
               FP_BOX_##N(fp##N##_fma##FAST(FP_RS1(N), FP_RS2(N), FP_RS3(N), rm, &flags)))         \
    FP_ROUNDED(                                                                                    \
        fmsub_##s, FP_F,                                                                           \
        FP_BOX_##N(fp##N##_fma##FAST(FP_RS1(N), FP_RS2(N), FP_RS3(N) ^ FP##N##_SIGN, rm, &flags))) \
    FP_ROUNDED(                                                                                    \
        fnmsub_##s, FP_F,                                                                          \
        FP_BOX_##N(fp##N##_fma##FAST(FP_RS1(N) ^ FP##N##_SIGN, FP_RS2(N), FP_RS3(N), rm, &flags))) \
    FP_ROUNDED(fnmadd_##s, FP_F,                                                                   \
               FP_BOX_##N(fp##N##_fma##FAST(FP_RS1(N) ^ FP##N##_SIGN, FP_RS2(N),                   \
                                            FP_RS3(N) ^ FP##N##_SIGN, rm, &flags)))                \
    FP_PLAIN(fsgnj_##s, FP_F,                                                                      \
             FP_BOX_##N((FP_RS1(N) & ~FP##N##_SIGN) | (FP_RS2(N) & FP##N##_SIGN)))                 \
    FP_PLAIN(fsgnjn_##s, FP_F,                                                                     \
             FP_BOX_##N((FP_RS1(N) & ~FP##N##_SIGN) | (~FP_RS2(N) & FP##N##_SIGN)))                \
    FP_PLAIN(fsgnjx_##s, FP_F, FP_BOX_##N(FP_RS1(N) ^ (FP_RS2(N) & FP##N##_SIGN)))                 \
    FP_PLAIN(fmin_##s, FP_F, FP_BOX_##N(fp##N##_min(FP_RS1(N), FP_RS2(N), &flags)))                \
    FP_PLAIN(fmax_##s, FP_F, FP_BOX_##N(fp##N##_max(FP_RS1(N), FP_RS2(N), &flags)))                \
    FP_PLAIN(fminm_##s, FP_F, FP_BOX_##N(fp##N##_minm(FP_RS1(N), FP_RS2(N), &flags)))              \
    FP_PLAIN(fmaxm_##s, FP_F, FP_BOX_##N(fp##N##_maxm(FP_RS1(N), FP_RS2(N), &flags)))              \
    FP_PLAIN(feq_##s, FP_X, fp##N##_eq(FP_RS1(N), FP_RS2(N), &flags))                              \
    FP_PLAIN(flt_##s, FP_X, fp##N##_lt(FP_RS1(N), FP_RS2(N), &flags))                              \
    FP_PLAIN(fle_##s, FP_X, fp##N##_le(FP_RS1(N), FP_RS2(N), &flags))                              \
    FP_PLAIN(fltq_##s, FP_X, fp##N##_ltq(FP_RS1(N), FP_RS2(N), &flags))                            \
    FP_PLAIN(fleq_##s, FP_X, fp##N##_leq(FP_RS1(N), FP_RS2(N), &flags))                            \
    FP_PLAIN(fclass_##s, FP_X, fp##N##_class(FP_RS1(N)))                                           \
    FP_PLAIN(fli_##s, FP_F, FP_BOX_##N(fp##N##_fli(i->b)))                                         \
    FP_ROUNDED(fround_##s, FP_F, FP_BOX_##N(fp##N##_round(FP_RS1(N), rm, &flags)))                 \
    FP_ROUNDED(froundnx_##s, FP_F, FP_BOX_##N(fp##N##_roundnx(FP_RS1(N), rm, &flags)))             \
    FP_ROUNDED(fcvt_w_##s, FP_X, fp##N##_to_i32(FP_RS1(N), rm, &flags))                            \
    FP_ROUNDED(fcvt_wu_##s, FP_X, fp##N##_to_u32(FP_RS1(N), rm, &flags))                           \
    FP_ROUNDED(fcvt_l_##s, FP_X, fp##N##_to_i64(FP_RS1(N), rm, &flags))                            \
    FP_ROUNDED(fcvt_lu_##s, FP_X, fp##N##_to_u64(FP_RS1(N), rm, &flags))                           \
    FP_ROUNDED(fcvt_##s##_w, FP_F, FP_BOX_##N(fp##N##_from_i32(FP_INT, rm, &flags)))               \
    FP_ROUNDED(fcvt_##s##_wu, FP_F, FP_BOX_##N(fp##N##_from_u32(FP_INT, rm, &flags)))              \
    FP_ROUNDED(fcvt_##s##_l, FP_F, FP_BOX_##N(fp##N##_from_i64(FP_INT, rm, &flags)))               \
    FP_ROUNDED(fcvt_##s##_lu, FP_F, FP_BOX_##N(fp##N##_from_u64(FP_INT, rm, &flags)))

FP_FORMAT(16, h, )
FP_FORMAT(32, s, _fast)
FP_FORMAT(64, d, _fast)

/* Between formats: FROM -> TO bits. */
#define FP_CONVERT(name, FROM, TO) \
    FP_ROUNDED(name, FP_F, FP_BOX_##TO(fp##FROM##_to_fp##TO(FP_RS1(FROM), rm, &flags)))

FP_CONVERT(fcvt_s_d, 64, 32)
FP_CONVERT(fcvt_d_s, 32, 64)
FP_CONVERT(fcvt_s_h, 16, 32)
FP_CONVERT(fcvt_h_s, 32, 16)
FP_CONVERT(fcvt_d_h, 16, 64)
FP_CONVERT(fcvt_h_d, 64, 16)

FP_PLAIN(fcvtmod_w_d, FP_X, fp64_to_i32_mod(FP_RS1(64), &flags))

/* Moves take the bits as they are, boxed or not. */
FP_PLAIN(fmv_x_h, FP_X, (uint64_t)(int64_t)(int16_t)(uint16_t)h->f[i->b])
FP_PLAIN(fmv_x_w, FP_X, FP_SX32(h->f[i->b]))
FP_PLAIN(fmv_x_d, FP_X, h->f[i->b])
FP_PLAIN(fmv_h_x, FP_F, fp16_box(FP_INT & 0xffff))
FP_PLAIN(fmv_w_x, FP_F, fp32_box(FP_INT &UINT32_MAX))
FP_PLAIN(fmv_d_x, FP_F, FP_INT)

#undef FP_CONVERT
#undef FP_FORMAT
#undef FP_PLAIN
#undef FP_ROUNDED
