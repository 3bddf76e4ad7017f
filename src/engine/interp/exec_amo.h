/*
 * The read-modify-write instructions (A: Zaamo) on host memory that the caller has translated and
 * found aligned. `amo_<name>` returns the former value, sign-extended; `amo_type_<name>` is the
 * element. All are sequentially consistent, which satisfies every aq/rl combination.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define AMO_DEFINE(name, U, S, expr)                                                   \
    typedef U amo_type_##name;                                                         \
    static inline uint64_t amo_##name(void *mem, uint64_t operand)                     \
    {                                                                                  \
        U *p = mem;                                                                    \
        U b = (U)operand;                                                              \
        U a = __atomic_load_n(p, __ATOMIC_RELAXED);                                    \
        while (!__atomic_compare_exchange_n(p, &a, (U)(expr), false, __ATOMIC_SEQ_CST, \
                                            __ATOMIC_RELAXED))                         \
            ;                                                                          \
        return (uint64_t)(int64_t)(S)a;                                                \
    }

#define AMO_DIRECT(name, U, S, builtin)                                               \
    typedef U amo_type_##name;                                                        \
    static inline uint64_t amo_##name(void *mem, uint64_t operand)                    \
    {                                                                                 \
        return (uint64_t)(int64_t)(S)builtin((U *)mem, (U)operand, __ATOMIC_SEQ_CST); \
    }

#define AMO_WIDTH(w, U, S)                             \
    AMO_DIRECT(amoswap_##w, U, S, __atomic_exchange_n) \
    AMO_DIRECT(amoadd_##w, U, S, __atomic_fetch_add)   \
    AMO_DIRECT(amoxor_##w, U, S, __atomic_fetch_xor)   \
    AMO_DIRECT(amoand_##w, U, S, __atomic_fetch_and)   \
    AMO_DIRECT(amoor_##w, U, S, __atomic_fetch_or)     \
    AMO_DEFINE(amomin_##w, U, S, (S)a < (S)b ? a : b)  \
    AMO_DEFINE(amomax_##w, U, S, (S)a > (S)b ? a : b)  \
    AMO_DEFINE(amominu_##w, U, S, a < b ? a : b)       \
    AMO_DEFINE(amomaxu_##w, U, S, a > b ? a : b)

AMO_WIDTH(w, uint32_t, int32_t)
AMO_WIDTH(d, uint64_t, int64_t)

#undef AMO_WIDTH
#undef AMO_DIRECT
#undef AMO_DEFINE
