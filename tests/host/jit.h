/*
 * For tests that execute what the assembler wrote: code memory and functions in it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/codemem.h"
#include "host/x86_64/asm.h"

#define JIT_SIZE 4096

struct jit {
    struct codemem memory;
    struct asm_buf b;
};

typedef uint64_t (*jit_fn)(uint64_t a, uint64_t b, uint64_t c);

static inline void jit_begin(struct jit *j)
{
    uint8_t *code = codemem_alloc(&j->memory, JIT_SIZE);
    assert_non_null(code);
    asm_init(&j->b, code, JIT_SIZE);
}

/* The System V function f(rdi, rsi, rdx) that has been written since jit_begin. */
static inline jit_fn jit_end(struct jit *j)
{
    assert_false(j->b.overflow);
    codemem_trim(&j->memory, j->b.start, JIT_SIZE, asm_pos(&j->b));
    return (jit_fn)(uintptr_t)codemem_to_rx(&j->memory, j->b.start);
}
