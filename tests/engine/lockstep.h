/*
 * Lockstep: two vCPUs, of whatever engines, run the same program, and the first instruction at
 * which they differ is found.
 *
 * Both have their own address space, with the same RAM regions and contents, and the same
 * architectural state (a struct rv_hart) to begin with. They are compared every `stride`
 * instructions: all declared state of the hart but its translation caches, and all RAM. When they
 * differ, both are set back to the last comparison, and the number of instructions to the first
 * difference is found by halving; so an engine that is right when it steps and wrong when it runs
 * is caught too. What differs only between two comparisons goes unseen, but for its consequences;
 * with a stride of 1 nothing does. RAM is copied at every stride: for machines of some MiB.
 *
 * Nothing is owned; the vCPUs belong to the calling thread.
 */
#pragma once

#include "core/engine.h"

struct lockstep {
    struct vcpu *vcpu[2];
    uint64_t stride; /* > 0 */
    /*
     * What the owner of a vCPU does when it leaves the engine for another reason than the limit or
     * a kick. False: the program has ended. May be called again for what it has already done, after
     * both were set back.
     */
    bool (*service)(void *ctx, struct vcpu *v, enum vcpu_exit exit);
    void *ctx;
};

enum lockstep_end { LOCKSTEP_ENDED, LOCKSTEP_LIMIT, LOCKSTEP_DIFFERENT };

struct lockstep_result {
    uint64_t insns; /* since the start; LOCKSTEP_DIFFERENT: after so many both are still equal */
    uint64_t pc;    /* LOCKSTEP_DIFFERENT: of the next instruction, after which they differ */
    char what[160]; /* LOCKSTEP_DIFFERENT: the first difference */
};

/* Runs until both end, `max_insns` have been executed, or they differ. Aborts without memory. */
enum lockstep_end lockstep_run(struct lockstep *l, uint64_t max_insns, struct lockstep_result *r);

/*
 * Whether two vCPUs have equal state and RAM; else says in buf what differs first. With
 * `everything`, also the translation caches, which only equal engines have in common.
 */
bool lockstep_equal(const struct vcpu *a, const struct vcpu *b, bool everything, char *buf,
                    size_t size);
