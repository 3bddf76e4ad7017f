/*
 * The interpreter from the inside: shared by its loop (interp.c) and by what makes, changes and
 * ends it (engine.c), and by nothing else.
 */
#pragma once

#include "engine/interp/code.h"
#include "engine/interp/interp.h"
#include "isa/riscv64/ops.h"

#include <pthread.h>

#define HANDLER(op, compressed) ((op)*2 + (compressed))

enum {
    HANDLER_UNDECODED, /* 0: what fresh slots hold */
    HANDLER_ILLEGAL,
    HANDLER_CROSSING = HANDLER(RV_OP_COUNT, 0), /* four bytes, of which two are on the next page */
    HANDLER_PAGE_END,
    HANDLER_COUNT,
    HANDLER_NATIVE = HANDLER_COUNT, /* added to the handler of a slot that has native code */
};

/* Targets of jumps share this many counters. */
#define HOT_COUNTERS 2048

/* What the vCPUs of a process share; a machine's has one of its own. */
struct interp_shared {
    struct code_cache *code;
    pthread_mutex_t lock; /* of users */
    struct interp *users;
};

struct interp {
    struct vcpu *v;
    struct interp_shared *shared;
    struct code_cache *code;          /* shared->code */
    struct interp *next;              /* user */
    const struct interp_hooks *hooks; /* NULL: interpreted only */
    void *hooks_data;
    uint64_t decoded, tlb_misses, traps;
    uint16_t threshold;
    uint16_t hot[HOT_COUNTERS]; /* jumps left */
};

static inline uint16_t *hot_counter(struct interp *it, const struct code_slot *ip)
{
    return &it->hot[(uintptr_t)ip / sizeof *ip % HOT_COUNTERS];
}

/* An engine_ops.run. */
enum vcpu_exit interp_run(struct vcpu *v, uint64_t max_insns);
