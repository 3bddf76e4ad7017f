/* What the files of vmm share. */
#pragma once

#include "base/loop.h"
#include "block/block.h"
#include "chr/port.h"
#include "core/addrspace.h"
#include "core/engine.h"
#include "dev/virtio/virtio_console.h"
#include "machine/machine.h"
#include "net/net.h"
#include "share/share.h"
#include "vmm/gdbstub.h"
#include "vmm/vm.h"
#include "vsock/vsock.h"

#include <pthread.h>
#include <stdatomic.h>

/* What all vCPU threads are to do. */
enum run_state { RUN_PAUSED, RUN_RUNNING, RUN_ENDING };

/* reclaim.c; all the loop's thread's. */
struct vm_reclaim {
    struct loop_timer timer;
    uint64_t interval_ns; /* of the timer, when there is nothing to do */
    bool due;             /* to be done when the vCPUs are parked */
    unsigned put_off;     /* times that it was not, because one was running */
    uint64_t yield;       /* bytes that a look gives back, on the average of late */
    gpa_t at;             /* where to look next */
    uint64_t seen;        /* bytes that memory cost when last looked at */
    uint64_t owed;        /* bytes to look at */
    uint64_t dropped;     /* bytes given back, in all */
};

/* confine.c */
struct vm_net_opener {
    struct broker *broker;
    unsigned index;
};

struct vm {
    struct vm_config config;
    struct loop *loop;
    struct chr *console;
    struct block *disks[VM_MAX_DISKS];
    struct block *flash[VM_MAX_FLASH];
    struct net *nets[VM_MAX_NETS];
    struct share *shares[VM_MAX_SHARES];
    struct vsock *vsock;
    struct virtio_console_port ports[VM_MAX_PORTS]; /* point to port_names */
    char port_names[VM_MAX_PORTS][CHR_PORT_NAME_MAX + 1];
    const struct engine_ops *engine;
    struct machine *machine;
    FILE *dump;                    /* config.dump, or NULL */
    struct loop_timer clock_timer; /* fires the machine's timers when its clock is real */
    pthread_mutex_t clock_lock;    /* held while it is set */
    struct vm_reclaim reclaim;
    struct gdbstub *gdb; /* NULL: nobody asked for one */
    bool debug_held;     /* the debugger holds the machine; the loop's thread */
    bool held;           /* vm_hold; the loop's thread */
    enum gdb_action debug_action[GDB_MAX_HARTS]; /* see debug.c */

    pthread_mutex_t lock;   /* protects what follows, up to the jobs */
    pthread_cond_t changed; /* state or running changed */
    _Atomic int state;      /* enum run_state; written with the lock held */
    unsigned running;       /* vCPU threads that are not parked */
    bool reset_pending;     /* the guest asked for a reset */
    bool power_pending;     /* deterministic: what follows happens at the end of the slice */
    enum machine_power power_event;
    unsigned power_code;
    bool ended; /* result is set */
    struct vm_result result;
    int failed; /* vm_run's own failure, described in error */
    struct error error;

    struct loop_job event_job; /* the above has changed: handled on the loop's thread */
    struct loop_job quit_job;
    uint64_t host_ns;
    uint64_t started_ns; /* when vm_run began, on the host's clock; 0: it is not running */
    int statm;           /* /proc's file of this process's memory, or -1 */

    /* confine.c */
    struct broker *broker; /* NULL: this process does everything itself */
    struct vm_net_opener net_openers[VM_MAX_NETS];
    const char *save_path;
    char *gdb_path; /* removed at the end */
    void (*at_end)(void *ctx);
    void *at_end_ctx;
};

/* vm.c. Whether the guest's output waits for a slow host, in a run that must not depend on it. */
void vm_wait_for_output(struct vm *vm, bool wait);
/* Removes the sockets that others connect to. Not those of the debugger. */
void vm_remove_sockets(struct vm *vm);

/* run.c: the loop's thread parks all vCPU threads, or lets them go on. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
/*
 * While all are parked: waits until no device has anything in flight, after which nobody but the
 * caller writes to memory.
 */
void vm_drain(struct vm *vm);

/*
 * By a vCPU's owner: carries out requests; true if the vCPU can run guest code now. Then lets it
 * run up to `limit` instructions, and handles why it stopped.
 */
bool vm_vcpu_prepare(struct vm *vm, struct vcpu *v);
enum vcpu_exit vm_vcpu_enter(struct vm *vm, struct vcpu *v, uint64_t limit);

/*
 * slice.c: a stretch of guest time that every vCPU runs through, one after the other. Whatever
 * interrupts it (a pause, a debugger) leaves it where it is, so that it then goes on as if nothing
 * had happened.
 */
struct slice {
    bool open;
    bool active;     /* a vCPU had something to do */
    uint64_t end;    /* guest time */
    uint64_t length; /* the same in instructions */
    uint64_t used;   /* of them, by vCPU `next` */
    unsigned next;
    uint32_t seen; /* vCPU 0's wake word when it began */
};

/* Once, before the first slice. */
void vm_slices_start(struct vm *vm);
void vm_slice_begin(struct vm *vm, struct slice *s);
/*
 * Runs the vCPUs before `vcpu` to the end of the slice, and that one until it has used so many of
 * its instructions; with vcpu_count and 0, all of it. False if the machine was paused before.
 */
bool vm_slice_run(struct vm *vm, struct slice *s, unsigned vcpu, uint64_t used);
/*
 * All vCPUs are through: time moves on and timers fire. False if it stands still, because nobody
 * has anything to do and no timer is set.
 */
bool vm_slice_finish(struct vm *vm, struct slice *s);

/* vCPU threads, which start parked; ended and joined. threads has room for one per vCPU. */
int vm_threads_start(struct vm *vm, pthread_t *threads, struct error *err);
void vm_threads_end(struct vm *vm, pthread_t *threads);

/* vm.c: the end, from any thread: the first result is kept, all vCPUs park, the loop stops. */
void vm_end(struct vm *vm, enum vm_end end, unsigned code);
/* Any thread: all vCPUs park; the loop's thread lets them go on if nobody holds the machine. */
void vm_park_soon(struct vm *vm);
/* The loop's thread: lets parked vCPUs go on if nobody holds the machine. */
void vm_go_on(struct vm *vm);
void vm_clock_changed(void *vm);
/* Deterministic: does what the guest asked of the power device in the slice that has ended. */
void vm_power_now(struct vm *vm);

/*
 * snapshot.c: everything but memory, which addrspace_save appends; loading takes both, in this
 * order.
 */
void vm_state_save(struct vm *vm, struct state_out *out);
int vm_state_load(struct vm *vm, struct state_in *in, struct error *err);
int vm_memory_load(struct vm *vm, struct state_in *in, struct error *err);
int vm_load(struct vm *vm, const char *path, struct error *err);

/*
 * The file that vm_save makes, which has its name when it is complete: a descriptor or -errno; 0 or
 * -errno. The second pair is the one to call: confine.c, by the broker if there is one.
 */
int vm_save_begin(const char *path);
int vm_save_end(const char *path, bool complete);
int vm_confined_save_begin(struct vm *vm, const char *path);
int vm_confined_save_end(struct vm *vm, const char *path, bool complete);

/* confine.c: the file of the calling thread that vcpu.schedstat is, or -1. */
int vm_open_schedstat(struct vm *vm);

/* reclaim.c: between start and stop; what is due is done while all vCPU threads are parked. */
void vm_reclaim_init(struct vm *vm);
void vm_reclaim_start(struct vm *vm);
void vm_reclaim_stop(struct vm *vm);
void vm_reclaim_due(struct vm *vm);

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
