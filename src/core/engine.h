/*
 * What an engine is: something that makes a vCPU run. Engines know registers, instructions and the
 * address space; they know neither devices nor boards. Only vmm/ names concrete engines.
 */
#pragma once

#include "core/vcpu.h"

#include <stdio.h>

/* Counters, all of 64 bits. */
struct engine_stats {
    uint64_t instructions; /* retired */
    uint64_t decoded;      /* instructions decoded */
    uint64_t code_pages;   /* pages of decoded code made */
    uint64_t tlb_misses;
    uint64_t traps;
    /* of engines that compile */
    uint64_t regions, region_insns; /* compiled, and guest instructions in them */
    uint64_t given_up;              /* not compiled, for want of anything to compile or of room */
    uint64_t code_bytes, compile_ns;
    uint64_t loaded;         /* regions that an earlier process has compiled */
    uint64_t moved;          /* times that a region was found at another address than before */
    uint64_t starts_over;    /* times that all code was dropped, because there was no room */
    uint64_t links;          /* exits that were linked to another region */
    uint64_t region_entries; /* from outside, and why regions came back: */
    uint64_t left_direct, left_indirect, left_instruction, left_stop, left_trap;
};

void engine_stats_add(struct engine_stats *sum, const struct engine_stats *s);
/* What a translator did, for a person. */
void engine_stats_print_translator(const struct engine_stats *s, FILE *out);

struct engine_ops {
    const char *name;

    /* Makes v->engine_data. v->arch, v->mem and v->clock are set. ENOMEM with *err. */
    int (*attach)(struct vcpu *v, struct error *err);
    void (*detach)(struct vcpu *v);

    /*
     * Runs up to max_insns instructions (1: a single step; UINT64_MAX: no limit) and returns the
     * reason to stop. With a limit it stops exactly there. An interrupt that is pending and enabled
     * is taken on entry and whenever a guest instruction enables it. Returns VCPU_EXIT_KICK soon
     * after a kick, without losing it.
     */
    enum vcpu_exit (*run)(struct vcpu *v, uint64_t max_insns);

    /* Breakpoints or watchpoints of v->debug changed. */
    void (*debug_changed)(struct vcpu *v);
    /* Translations of addresses, or of instructions, may be stale. */
    void (*flush_tlb)(struct vcpu *v);
    void (*fence_i)(struct vcpu *v);

    /*
     * Of processes, whose vCPUs share translations. Code in [start, end) may have changed or be
     * executable no more; all room for code is given back if there is none left. No vCPU runs.
     */
    void (*code_changed)(struct vcpu *v, uint64_t start, uint64_t end);
    /* Whether that would find anything to do: any time. */
    bool (*has_code)(struct vcpu *v, uint64_t start, uint64_t end);
    /* Round fork, on the thread that forks: afterwards the child has this vCPU only. */
    void (*fork_begin)(struct vcpu *v);
    void (*fork_end)(struct vcpu *v, bool child);

    /*
     * The process is about to end, or to become another program: what is worth keeping of its
     * translations is written. Other vCPUs may run. NULL: nothing is kept.
     */
    void (*save)(struct vcpu *v);

    /* v->arch and v->mem were loaded from saved state: checks and rebuilds what refers to both. */
    int (*loaded)(struct vcpu *v, struct error *err);

    /* The counter of instructions that `run` counts its limit in; current whenever the guest can
     * see it and between runs. */
    const uint64_t *(*icount)(const struct vcpu *v);
    void (*stats)(const struct vcpu *v, struct engine_stats *out);
    /* What is compiled from now on is written there, for a person to read. NULL: compiles nothing.
     */
    void (*dump)(struct vcpu *v, FILE *out);
};
