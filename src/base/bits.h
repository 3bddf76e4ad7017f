/*
 * Bit fields, sign extension, alignment and little-endian access. Everything a guest sees in
 * memory is little-endian; these functions make that independent of the host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* In a loop that waits for another processor. */
static inline void host_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "guise needs a little-endian host");

/* Bits lo .. lo+len-1 of v, moved down to bit 0. 1 <= len <= 64. */
static inline uint64_t bits_get(uint64_t v, unsigned lo, unsigned len)
{
    return (v >> lo) & (~UINT64_C(0) >> (64 - len));
}

/* v with bits lo .. lo+len-1 replaced by the low bits of field. */
static inline uint64_t bits_set(uint64_t v, unsigned lo, unsigned len, uint64_t field)
{
    uint64_t mask = (~UINT64_C(0) >> (64 - len)) << lo;
    return (v & ~mask) | ((field << lo) & mask);
}

/* The low `len` bits of v as a signed number, sign-extended to 64 bits. 1 <= len <= 64. */
static inline uint64_t bits_sext(uint64_t v, unsigned len)
{
    uint64_t sign = UINT64_C(1) << (len - 1);
    v &= ~UINT64_C(0) >> (64 - len);
    return (v ^ sign) - sign;
}

static inline bool is_pow2(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* a must be a power of two. */
static inline uint64_t align_down(uint64_t v, uint64_t a)
{
    return v & ~(a - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t a)
{
    return (v + a - 1) & ~(a - 1);
}

static inline uint16_t le16_get(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The product of polynomials over GF(2), which has 127 bits. */
static inline unsigned __int128 bits_clmul(uint64_t a, uint64_t b)
{
    unsigned __int128 sum = 0;
    for (; b; b &= b - 1)
        sum ^= (unsigned __int128)a << __builtin_ctzll(b);
    return sum;
}

static inline uint32_t le32_get(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t le64_get(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void le16_put(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void le32_put(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void le64_put(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
