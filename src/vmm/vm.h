/*
 * Virtual machines, for programs that embed guise: make one from a description, run it, stop it,
 * save and load it. The struct is opaque.
 *
 * Threads: vm_new, vm_run and vm_free are called by one thread; vm_run is its event loop until the
 * machine ends. vm_quit may be called from any thread. Signals: none are used or blocked.
 */
#pragma once

#include "base/error.h"
#include "core/engine.h"
#include "dev/virtio/virtio_balloon.h"
#include "net/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VM_MAX_DISKS 7
#define VM_MAX_NETS 7
#define VM_MAX_SHARES 7
#define VM_MAX_FLASH 2
#define VM_MAX_PORTS 6
#define VM_MAX_CPUS 64

struct vm;

struct vm_disk {
    const char *path;
    const char *format; /* "raw" or "qcow2"; NULL: by what it begins with (docs/disks.md) */
    bool readonly;
};

/* A memory balloon, with which the guest also gives memory back that is free. */
enum vm_balloon {
    VM_BALLOON_AUTO, /* unless deterministic */
    VM_BALLOON_ON,
    VM_BALLOON_OFF,
};

struct vm_config {
    const char *engine;                              /* "auto", "interp", or "dbt" on x86-64 */
    unsigned cpus;                                   /* 1 to 64 */
    uint64_t memory;                                 /* bytes */
    unsigned address_bits;                           /* of guest virtual addresses: 39, 48 or 57 */
    const char *kernel, *initrd, *append, *firmware; /* NULL: none */
    struct vm_disk disks[VM_MAX_DISKS];
    unsigned disk_count;
    struct vm_disk flash[VM_MAX_FLASH]; /* banks of flash, of 32 MiB each: firmware, variables */
    unsigned flash_count;
    const char *nets[VM_MAX_NETS]; /* network cards, as net_open takes them */
    unsigned net_count;
    const char *shares[VM_MAX_SHARES]; /* shared folders, as share_open takes them */
    unsigned share_count;
    const char *vsock; /* the host's socket of the socket device, as vsock_open takes it; or NULL */
    const char *ports[VM_MAX_PORTS]; /* named ports, as chr_port_open takes them */
    unsigned port_count;
    enum vm_balloon balloon;
    uint64_t balloon_target; /* bytes that the guest is asked to do without; it may take them */
    const char *console;     /* as chr_open takes it: stdio, stdout, none, file:, pty, unix: */
    const char *gdb;         /* NULL, PORT or unix:PATH: the machine waits for a debugger */
    bool pci;                /* disks and entropy behind a PCI bridge, not in the slots of MMIO */
    bool aia;                /* APLIC and IMSICs as interrupt controllers, not a PLIC */
    bool boot_at_once;       /* U-Boot does not wait for a key first */
    bool deterministic;      /* guest time is counted in instructions: runs repeat exactly */
    uint64_t run_for;    /* deterministic: stop when guest time has come to so many ns; 0: never */
    uint64_t code_cache; /* bytes for translated code, for each cpu; 0: the engine's choice */
    struct archive *archive; /* where translations are kept between runs, which outlives the
                                machine; NULL: nowhere */
    const char *dump;        /* what the engine compiles is written to this file; NULL: no */
    const char *load;        /* start from this saved state instead of power-on; NULL: no */
    bool paused;             /* nothing runs until vm_release */
};

/* Defaults: engine auto, 1 cpu, 256 MiB, 39 bits, console stdio. */
void vm_config_init(struct vm_config *config);

/* An engine of this host by its name, or "auto". NULL with *err. */
const struct engine_ops *vm_find_engine(const char *name, struct error *err);

/* Makes everything that can fail: files are open and memory is there. NULL with *err. */
struct vm *vm_new(const struct vm_config *config, struct error *err);
void vm_free(struct vm *vm);

enum vm_end {
    VM_END_POWEROFF, /* the guest switched off */
    VM_END_FAILURE,  /* the guest reported failure, with a code */
    VM_END_QUIT,     /* vm_quit, or Ctrl-A x at the console */
    VM_END_LIMIT,    /* run_for is over; vm_run may be called again */
};

struct vm_result {
    enum vm_end end;
    unsigned code; /* VM_END_FAILURE: what the guest gave */
};

/* Runs until the machine ends. A guest's reset starts it again. 0 or -errno with *err. */
int vm_run(struct vm *vm, struct vm_result *result, struct error *err);

/*
 * Takes from this process all that its machines do not need any more (docs/confinement.md): call it
 * once, when all machines are made and before the first runs. The process must have one thread, and
 * be willing to have nothing else to do: it can open no file afterwards. A second process, forked
 * here, does the little that needs the names of `vm`'s files later. 0 or -errno with *err.
 */
struct vm_confinement {
    uint32_t user, group; /* what a process that is root becomes */
    const char *save; /* the path that vm_save will be given, which must outlive vm; NULL: none */
    bool listens;     /* somebody else has a socket that takes connections: ctl */
    void (*at_end)(void *ctx); /* NULL: nothing. In the second process, when this one has ended */
    void *ctx;
};

struct confine_report;
int vm_confine(struct vm *vm, const struct vm_confinement *how, struct confine_report *report,
               struct error *err);

struct vm_lockstep {
    uint64_t
        stride;     /* slices (10 us of guest time) between two comparisons of memory; 0: default */
    bool different; /* the outcome; if not, `result` is how both ended */
    struct vm_result result;
};

/*
 * Runs two machines of the same description, but for the engine and the console, side by side until
 * they end or differ; a difference is described on `out`. See docs/debugging.md. Both must be
 * deterministic and get no input and no writable disk; neither can be run afterwards.
 * 0 or -errno with *err.
 */
int vm_lockstep_run(struct vm *first, struct vm *second, struct vm_lockstep *l, FILE *out,
                    struct error *err);

/* Ends vm_run soon. Any thread, and signal handlers. */
void vm_quit(struct vm *vm);

/*
 * Writes the whole state; the machine must not be running. The file appears complete or not at all.
 * -ENOTSUP if it shares a folder: what is open there belongs to another process.
 */
int vm_save(struct vm *vm, const char *path, struct error *err);

/*
 * Hash over all declared state and memory but translation caches, so that it is the same for all
 * engines after a deterministic run; the machine must not be running.
 */
uint64_t vm_hash(struct vm *vm);

struct vm_stats {
    struct engine_stats engine; /* the sum of all vCPUs' */
    uint64_t guest_ns, host_ns; /* time that vm_run took, on the guest's and the host's clock */
    uint64_t resident_kib;      /* of this process */
    uint64_t given_back_kib;    /* zero pages of memory that were given back to the host */
    uint64_t ballooned_kib;     /* memory that the guest itself gave back, in all */
};

/* While the machine runs: for the loop's thread, and all vCPUs stop for a moment. */
void vm_stats(struct vm *vm, struct vm_stats *out);
/* Of these the times alone. */
uint64_t vm_guest_ns(struct vm *vm);
uint64_t vm_host_ns(const struct vm *vm);

struct vm_disk_info {
    const char *path, *format;
    uint64_t size; /* bytes */
    bool readonly;
    /* What the guest has done, as struct virtio_blk_stats has it. */
    uint64_t reads, read_bytes, writes, write_bytes, flushes, discards, errors;
};

/* False if there is no such disk. Any thread. */
bool vm_disk_info(struct vm *vm, unsigned disk, struct vm_disk_info *out);

/* Counters of network card `net`; false if there is none. Any thread. */
bool vm_net_stats(struct vm *vm, unsigned net, struct net_stats *out);
/* Plugs its cable in or pulls it out. -ENODEV if there is no such card. Any thread. */
int vm_set_link(struct vm *vm, unsigned net, bool up);
/* Whether the cable of a card that there is is in. Any thread. */
bool vm_link(struct vm *vm, unsigned net);

/* What the machine was made from, and which engine it got. Any thread. */
const struct vm_config *vm_config(const struct vm *vm);
const char *vm_engine_name(const struct vm *vm);

/*
 * Control of a machine that runs, by what is called from its event loop (docs/control.md): whoever
 * wants to add descriptors to it does so before vm_run and removes them afterwards. The functions
 * belong to the loop's thread.
 */
struct loop *vm_loop(struct vm *vm);

enum vm_activity {
    VM_RUNNING,
    VM_PAUSED,   /* vm_hold */
    VM_DEBUGGED, /* the debugger has stopped it */
};

enum vm_activity vm_activity(const struct vm *vm);
/*
 * Pauses: when it returns, no vCPU runs, guest time stands still and no disk request is in flight.
 * Frames from the network still land in buffers that the guest has given. Twice is as once.
 */
void vm_hold(struct vm *vm);
/* Lets a paused machine go on, if no debugger holds it. */
void vm_release(struct vm *vm);
/* Power-on state now, paused or not; a failure, with *err, also ends vm_run. */
int vm_restart(struct vm *vm, struct error *err);
/* Presses the power button; false if the guest has no driver for it. */
bool vm_press_power(struct vm *vm);

/*
 * Asks the guest to do without so many bytes of its memory; it gives what it can, and takes them
 * when it would fail otherwise. -ENODEV if there is no balloon. Any thread.
 */
int vm_set_balloon(struct vm *vm, uint64_t bytes);
/*
 * What the balloon holds and what the guest last said about its memory; and asks it to say so
 * again, which takes it a moment. False if there is no balloon. Any thread.
 */
bool vm_balloon_ask(struct vm *vm);
bool vm_balloon_stats(struct vm *vm, struct virtio_balloon_stats *out);

/* Device tree in FDT format, valid until vm_free. */
const void *vm_device_tree(struct vm *vm, size_t *size);

/* Path of the pty or file behind the console, or NULL. */
const char *vm_console_path(const struct vm *vm);

/* The port at which the debugger's server listens, 0 if there is none or it is a Unix socket. */
unsigned vm_gdb_port(const struct vm *vm);
