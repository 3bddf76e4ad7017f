/*
 * What the parts of test_asm share: the instructions written so far with the texts that they should
 * be, random operands with their text, and the comparison with binutils.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/x86_64/asm.h"

enum { MAX_CASES = 40000, MAX_TEXT = 96, MAX_CODE = 600000 };

struct item {
    uint32_t at, length;
    bool assemble; /* the text means the same out of its place */
    char text[MAX_TEXT];
};

struct test {
    struct asm_buf code;
    struct item *items;
    size_t count;
    uint64_t random;
    unsigned failures;
};

struct random_mem {
    struct asm_mem mem;
    char text[MAX_TEXT]; /* "[rax+rcx*2+0x10]" */
};

/* 0 to n - 1. */
unsigned pick(struct test *t, unsigned n);
uint64_t random_next(struct test *t);

/* What the code has grown by since the last one is this text. */
struct item *add(struct test *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The name of a general register of that size; binutils' name of an operation and a condition. */
const char *reg_text(unsigned size, unsigned reg);
const char *op_text(enum asm_op op);
extern const char *const conditions[16];
/* v as an unsigned number of that many bytes. */
uint64_t cut(int64_t v, unsigned size);
/* Bytes that an xmm instruction reads from memory. */
unsigned x_size(enum asm_op op);

int32_t random_imm(struct test *t);
struct random_mem random_mem(struct test *t, unsigned size);
/* The text of the operand as it should be encoded: what costs fewer bytes of equal addresses. */
void mem_print(struct random_mem *r, unsigned size);

/* objdump prints what is expected. Differences are printed and counted in t->failures. */
void check_text(struct test *t, const char *dir);
/* No text is shorter when binutils assembles it. */
void check_length(struct test *t, const char *dir);
/* Removes dir with what the two have left there. */
void work_remove(const char *dir);
