/* What the files of vmm share. */
#pragma once

#include "base/loop.h"
#include "block/block.h"
#include "chr/chr.h"
#include "core/engine.h"
#include "machine/machine.h"
#include "vmm/vm.h"

#include <pthread.h>
#include <stdatomic.h>

/* What all vCPU threads are to do. */
enum run_state { RUN_PAUSED, RUN_RUNNING, RUN_ENDING };

struct gdbstub;

struct vm {
    struct vm_config config;
    struct loop *loop;
    struct chr *console;
    struct block *disks[VM_MAX_DISKS];
    const struct engine_ops *engine;
    struct machine *machine;
    struct loop_timer clock_timer; /* fires the machine's timers when its clock is real */
    struct gdbstub *gdb;

    pthread_mutex_t lock;   /* protects what follows, up to the jobs */
    pthread_cond_t changed; /* state or running changed */
    _Atomic int state;      /* enum run_state; written with the lock held */
    unsigned running;       /* vCPU threads that are not parked */
    bool reset_pending;     /* the guest asked for a reset */
    bool ended;             /* result is set */
    bool debug_stop;        /* debug_vcpu has something for the debugger */
    unsigned debug_vcpu;
    uint8_t debug_action[64]; /* enum gdb_action for each vCPU; changes while all are parked */
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
/* A vCPU hit a breakpoint or watchpoint. Its thread. */
void vm_debug_stop(struct vm *vm, struct vcpu *v);
void vm_clock_changed(void *vm);

/* snapshot.c */
int vm_load(struct vm *vm, const char *path, struct error *err);

/* debug.c: the gdb server, if one was asked for. */
int vm_debug_open(struct vm *vm, struct error *err);
void vm_debug_close(struct vm *vm);
/* True if the machine stays paused: until the debugger says go, or after a stop reported to it. */
bool vm_debug_wait(struct vm *vm);
bool vm_debug_stopped(struct vm *vm);
/* Instructions that the debugger lets the vCPU run next: none, one, or UINT64_MAX. */
uint64_t vm_debug_limit(const struct vm *vm, const struct vcpu *v);
/* Tells the debugger that the machine has ended. */
void vm_debug_ended(struct vm *vm);
