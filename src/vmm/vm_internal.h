/* What the files of vmm share. */
#pragma once

#include "base/loop.h"
#include "block/block.h"
#include "chr/chr.h"
#include "core/engine.h"
#include "machine/machine.h"
#include "vmm/gdbstub.h"
#include "vmm/vm.h"

#include <pthread.h>
#include <stdatomic.h>

/* What all vCPU threads are to do. */
enum run_state { RUN_PAUSED, RUN_RUNNING, RUN_ENDING };

struct vm {
    struct vm_config config;
    struct loop *loop;
    struct chr *console;
    struct block *disks[VM_MAX_DISKS];
    const struct engine_ops *engine;
    struct machine *machine;
    FILE *dump;                    /* config.dump, or NULL */
    struct loop_timer clock_timer; /* fires the machine's timers when its clock is real */
    struct gdbstub *gdb;           /* NULL: nobody asked for one */
    bool debug_held;               /* the debugger holds the machine; the loop's thread */
    enum gdb_action debug_action[GDB_MAX_HARTS]; /* see debug.c */

    pthread_mutex_t lock;   /* protects what follows, up to the jobs */
    pthread_cond_t changed; /* state or running changed */
    _Atomic int state;      /* enum run_state; written with the lock held */
    unsigned running;       /* vCPU threads that are not parked */
    bool reset_pending;     /* the guest asked for a reset */
    bool ended;             /* result is set */
    struct vm_result result;
    int failed; /* vm_run's own failure, described in error */
    struct error error;

    struct loop_job event_job; /* the above has changed: handled on the loop's thread */
    struct loop_job quit_job;
    uint64_t host_ns;
};

/* run.c: the loop's thread parks all vCPU threads, or lets them go on. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* vCPU threads, which start parked; ended and joined. threads has room for one per vCPU. */
int vm_threads_start(struct vm *vm, pthread_t *threads, struct error *err);
void vm_threads_end(struct vm *vm, pthread_t *threads);

/* vm.c: the end, from any thread: the first result is kept, all vCPUs park, the loop stops. */
void vm_end(struct vm *vm, enum vm_end end, unsigned code);
/* Any thread: all vCPUs park; the loop's thread lets them go on if the debugger does not object. */
void vm_park_soon(struct vm *vm);
void vm_clock_changed(void *vm);

/* snapshot.c */
int vm_load(struct vm *vm, const char *path, struct error *err);

/* debug.c: the gdb server, if one was asked for. */
int vm_debug_open(struct vm *vm, struct error *err);
void vm_debug_close(struct vm *vm);
/*
 * By the vCPU's owner, around the engine's run. May it run? How many instructions at most? Then:
 * does the debugger want to know why it stopped? The three do nothing without a debugger's server.
 */
bool vm_debug_may_run(struct vm *vm, const struct vcpu *v);
uint64_t vm_debug_before(struct vm *vm, struct vcpu *v, uint64_t limit);
void vm_debug_after(struct vm *vm, struct vcpu *v, enum vcpu_exit exit);
/* Tells the debugger that the machine has ended. */
void vm_debug_ended(struct vm *vm);
