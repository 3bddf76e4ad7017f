/*
 * Decoded code, page by page, for the interpreter.
 *
 * A code page holds one slot for each halfword of a guest-physical page, decoded when it is first
 * reached. A slot has the operands where the handler wants them, and which handler that is. The
 * page keeps a copy of the bytes it was decoded from: RISC-V lets fetched code be stale until
 * fence.i, so nothing watches stores; after a fence.i each page is compared once, when it is next
 * entered, and decoded anew only if it really changed.
 *
 * Most code of a machine runs a few times and then, if at all, compiled. So its pages share fewer
 * sets of slots: who needs one takes it from the page that has had its own for longest, which stays
 * what it is but for being decoded again. When that happens too often there get to be more sets.
 *
 * A cache is bounded. One that belongs to a single vCPU starts over when it is full. One that the
 * threads of a process share has a lock, and pages leave it only when no thread runs
 * (code_cache_check, code_cache_reset): then it also looks what has changed, and never before.
 */
#pragma once

#include "core/addrspace.h"
#include "isa/riscv64/hart.h"

#include <stdint.h>

#define CODE_SLOTS 2048 /* halfwords in a page */
#define CODE_MAX_PAGES 32768
#define CODE_MAX_SHARED 65536
/* Sets of slots that the pages of a machine's vCPU begin with, and at most have. */
#define CODE_FEW_SLOTS 512
#define CODE_MAX_SLOTS 4096

/*
 * Operands, by kind of instruction (rd = 0 is replaced by 32, the register nobody reads):
 *   a = rd, b = rs1, imm           immediate forms, loads, jalr; lui, auipc, jal without b
 *   a = rd, b = rs1, imm = rs2     register forms, atomics
 *   a = rs2, b = rs1, imm          stores, branches
 *   a = rd, b = rs1 or uimm, imm = CSR number
 *   a = rd, b = rs1, imm = rs2 | rs3 << 8 | rm << 16     floating point
 */
struct code_slot {
    uint16_t handler;
    uint8_t a, b;
    int32_t imm;
};

_Static_assert(sizeof(struct code_slot) == 8, "a slot is one word");

struct code_page {
    /* CODE_SLOTS and two that are the end, for either length. NULL: code_cache_open */
    struct code_slot *slots;
    gpa_t gpa;
    uint64_t epoch;      /* hart's code_epoch at which the bytes were last compared */
    uint32_t chain;      /* next page of the hash chain, index + 1 */
    uint32_t cross_bits; /* the instruction that continues on the next page, as last decoded */
    uint16_t cross_handler;
    uint32_t native_list;          /* the hooks' own; 0 when no native code depends on the page */
    uint32_t origin;               /* the hooks' own; 0 in a page that is new or has changed */
    bool noticed;                  /* likewise: page_made has been called */
    bool opened;                   /* has or had slots */
    uint64_t content;              /* the hooks' own: a hash of the bytes */
    uint64_t run[CODE_SLOTS / 64]; /* a bit for each slot: an instruction there has run */
    uint8_t bytes[4096];
};

struct code_cache;

/* Handlers of slots that are not decoded from one page; 0 is that of a slot not decoded yet. */
struct code_cache *code_cache_new(uint16_t crossing, uint16_t page_end, bool shared);
void code_cache_free(struct code_cache *c);

/*
 * The code page for a guest-physical page with these bytes, made or compared as needed. `epoch` is
 * the hart's. *restarted is set when the cache was full and all other code pages are gone. NULL: a
 * shared cache is full (code_cache_full), or the bytes are not there any more.
 */
struct code_page *code_cache_get(struct code_cache *c, gpa_t gpa, const uint8_t *bytes,
                                 uint64_t epoch, bool *restarted);

/*
 * For a page without slots: it has some from now on, nothing is decoded. icount: instructions that
 * the vCPU has executed.
 */
void code_cache_open(struct code_cache *c, struct code_page *p, uint64_t icount);

/* The page as it was last got, NULL: it is not there. */
struct code_page *code_cache_find(const struct code_cache *c, gpa_t gpa);

/* Who wants to know that a page's bytes changed, before it is decoded anew (NULL page: all). */
void code_cache_set_changed(struct code_cache *c, void (*changed)(void *ctx, struct code_page *p),
                            void *ctx);

/*
 * Of a shared cache, for pages in [start, end): whether there is one; drops those that `bytes` has
 * no bytes for any more, or others. True: something was dropped or was made anew.
 */
bool code_cache_has(struct code_cache *c, gpa_t start, gpa_t end);
bool code_cache_check(struct code_cache *c, gpa_t start, gpa_t end,
                      const uint8_t *(*bytes)(void *ctx, gpa_t page), void *ctx);
bool code_cache_full(struct code_cache *c);

/* Round fork: the child finds the lock free. */
void code_cache_lock(struct code_cache *c);
void code_cache_unlock(struct code_cache *c);

/* Drops all pages. */
void code_cache_reset(struct code_cache *c);

uint64_t code_cache_made(const struct code_cache *c);
