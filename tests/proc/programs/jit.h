/*
 * Writes small functions, for the architecture that the program is built for: int f(int).
 * Each takes JIT_SIZE bytes or less.
 */
#pragma once

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define JIT_SIZE 32
typedef int (*jit_function)(int);

#ifdef __riscv

static inline unsigned char *jit_word(unsigned char *at, uint32_t word)
{
    memcpy(at, &word, 4);
    return at + 4;
}

/* Registers a0, a1; any 32-bit number. */
static inline unsigned char *jit_load(unsigned char *at, unsigned reg, int32_t number)
{
    uint32_t low = (uint32_t)number & 0xfff, high = ((uint32_t)number + 0x800) & 0xfffff000;
    at = jit_word(at, high | reg << 7 | 0x37);
    return jit_word(at, low << 20 | reg << 15 | reg << 7 | 0x1b);
}

/* return number */
static inline unsigned char *jit_return(unsigned char *at, int32_t number)
{
    return jit_word(jit_load(at, 10, number), 0x00008067);
}

/* return argument + number */
static inline unsigned char *jit_add(unsigned char *at, int32_t number)
{
    at = jit_load(at, 11, number);
    at = jit_word(at, 11 << 20 | 10 << 15 | 10 << 7 | 0x3b);
    return jit_word(at, 0x00008067);
}

/* goto target */
static inline unsigned char *jit_jump(unsigned char *at, const void *target)
{
    uint32_t d = (uint32_t)((const unsigned char *)target - at);
    return jit_word(at, (d >> 20 & 1) << 31 | (d >> 1 & 0x3ff) << 21 | (d >> 11 & 1) << 20 |
                            (d >> 12 & 0xff) << 12 | 0x6f);
}

static inline unsigned char *jit_illegal(unsigned char *at)
{
    return jit_word(at, 0);
}

#elif defined(__x86_64__)

static inline unsigned char *jit_bytes(unsigned char *at, const char *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

static inline unsigned char *jit_number(unsigned char *at, int32_t number)
{
    memcpy(at, &number, 4);
    return at + 4;
}

static inline unsigned char *jit_return(unsigned char *at, int32_t number)
{
    return jit_bytes(jit_number(jit_bytes(at, "\xb8", 1), number), "\xc3", 1);
}

static inline unsigned char *jit_add(unsigned char *at, int32_t number)
{
    return jit_bytes(jit_number(jit_bytes(at, "\x8d\x87", 2), number), "\xc3", 1);
}

static inline unsigned char *jit_jump(unsigned char *at, const void *target)
{
    return jit_number(jit_bytes(at, "\xe9", 1), (int32_t)((const unsigned char *)target - at - 5));
}

static inline unsigned char *jit_illegal(unsigned char *at)
{
    return jit_bytes(at, "\x0f\x0b", 2);
}

#endif

static inline void jit_flush(unsigned char *start, unsigned char *end)
{
    __builtin___clear_cache((char *)start, (char *)end);
}

static inline int jit_call(const unsigned char *at, int argument)
{
    return ((jit_function)(uintptr_t)at)(argument);
}

static inline unsigned char *jit_memory(size_t size, int prot)
{
    return mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
