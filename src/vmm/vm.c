#include "vmm/vm_internal.h"

#include "base/bits.h"
#include "engine/engines.h"
#include "machine/virt.h"
#include "sandbox/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

void vm_config_init(struct vm_config *config)
{
    *config = (struct vm_config){
        .engine = "auto",
        .cpus = 1,
        .memory = UINT64_C(256) << 20,
        .address_bits = 39,
        .console = "stdio",
    };
}

/* ---- events that end or change the run ---- */

/* Parks all vCPUs soon and lets the loop's thread look. */
static void vm_attention(struct vm *vm)
{
    atomic_store(&vm->state, RUN_PAUSED);
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        vcpu_request(&vm->machine->vcpus[i], VCPU_REQ_STOP);
    loop_job_post(vm->loop, &vm->event_job);
}

void vm_end(struct vm *vm, enum vm_end end, unsigned code)
{
    pthread_mutex_lock(&vm->lock);
    if (!vm->ended && vm->state != RUN_ENDING) {
        vm->ended = true;
        vm->result = (struct vm_result){end, code};
        vm_attention(vm);
    }
    pthread_mutex_unlock(&vm->lock);
}

static void vm_power_do(struct vm *vm, enum machine_power event, unsigned code)
{
    if (event != MACHINE_POWER_RESET) {
        vm_end(vm, event == MACHINE_POWER_OFF ? VM_END_POWEROFF : VM_END_FAILURE, code);
        return;
    }
    pthread_mutex_lock(&vm->lock);
    vm->reset_pending = true;
    if (vm->state != RUN_ENDING)
        vm_attention(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void vm_power(void *ctx, enum machine_power event, unsigned code)
{
    struct vm *vm = ctx;
    if (!vm->config.deterministic) {
        vm_power_do(vm, event, code);
    } else if (!vm->power_pending) {
        vm->power_pending = true;
        vm->power_event = event;
        vm->power_code = code;
    }
}

void vm_power_now(struct vm *vm)
{
    if (!vm->power_pending)
        return;
    vm->power_pending = false;
    vm_power_do(vm, vm->power_event, vm->power_code);
}

void vm_park_soon(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    if (vm->state != RUN_ENDING)
        vm_attention(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void vm_reset(struct vm *vm)
{
    vm->reset_pending = false;
    int rc = vm->machine->ops->reset(vm->machine, &vm->error);
    if (rc) {
        vm->ended = true;
        vm->failed = rc;
    }
}

void vm_go_on(struct vm *vm)
{
    if (!vm->debug_held && !vm->held && !vm->ended)
        vm_resume(vm);
}

/* On the loop's thread, after vm_attention. */
static void vm_event(void *ctx)
{
    struct vm *vm = ctx;
    vm_pause(vm);
    if (vm->reset_pending && !vm->ended)
        vm_reset(vm);
    if (vm->ended) {
        loop_stop(vm->loop);
        return;
    }
    vm_reclaim_due(vm);
    vm_go_on(vm);
}

static void vm_quit_job(void *ctx)
{
    vm_end(ctx, VM_END_QUIT, 0);
}

void vm_quit(struct vm *vm)
{
    loop_job_post(vm->loop, &vm->quit_job);
}

static void vm_console_quit(void *ctx)
{
    vm_quit(ctx);
}

/* ---- time ---- */

static void vm_clock_due(void *ctx)
{
    struct vm *vm = ctx;
    clock_run(&vm->machine->clock);
    vm_clock_changed(vm);
}

/*
 * The machine's earliest deadline moved. A real clock's timers are fired by the loop; a virtual
 * clock's between slices (run.c).
 */
void vm_clock_changed(void *ctx)
{
    struct vm *vm = ctx;
    struct clock *c = &vm->machine->clock;
    if (c->is_virtual || !c->running)
        return;
    /* One at a time: who has looked before another hart's deadline came must not set after it. */
    pthread_mutex_lock(&vm->clock_lock);
    uint64_t deadline = clock_deadline(c), now = clock_ns(c);
    if (deadline != CLOCK_NEVER)
        loop_timer_set(vm->loop, &vm->clock_timer,
                       loop_now_ns() + (deadline > now ? deadline - now : 0));
    pthread_mutex_unlock(&vm->clock_lock);
}

/* ---- construction ---- */

const struct engine_ops *vm_find_engine(const char *name, struct error *err)
{
    for (unsigned i = 0; engines[i]; i++)
        if (!strcmp(name, "auto") || !strcmp(name, engines[i]->name))
            return engines[i];
    error_set(err, EINVAL,
              "there is no engine '%s' on this host: give auto, or one of those "
              "that 'guise help run' names",
              name);
    return NULL;
}

static int vm_pick_engine(struct vm *vm, struct error *err)
{
    vm->engine = vm_find_engine(vm->config.engine, err);
    return vm->engine ? 0 : -EINVAL;
}

static int vm_open_dump(struct vm *vm, struct error *err)
{
    const char *path = vm->config.dump;
    if (!path)
        return 0;
    if (!vm->engine->dump)
        return error_set(err, EINVAL, "engine %s compiles nothing that could be written to %s",
                         vm->engine->name, path);
    vm->dump = fopen(path, "we");
    return vm->dump ? 0 : error_set(err, errno, "%s: cannot be written: %s", path, strerror(errno));
}

static int vm_open_disks(struct block **disks, const struct vm_disk *from, unsigned count,
                         struct error *err)
{
    for (unsigned i = 0; i < count; i++) {
        const struct block_options options = {
            .format = from[i].format,
            .readonly = from[i].readonly,
        };
        disks[i] = block_open(from[i].path, &options, err);
        if (!disks[i])
            return -err->code;
    }
    return 0;
}

static int vm_open_ports(struct vm *vm, struct error *err)
{
    for (unsigned i = 0; i < vm->config.port_count; i++) {
        struct virtio_console_port *p = &vm->ports[i];
        p->name = vm->port_names[i];
        p->chr = chr_port_open(vm->config.ports[i], vm->port_names[i], vm->loop, err);
        if (!p->chr)
            return -err->code;
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(vm->port_names[k], p->name))
                return error_set(err, EINVAL, "two ports have the name '%s'", p->name);
    }
    return 0;
}

void vm_wait_for_output(struct vm *vm, bool wait)
{
    chr_set_wait(vm->console, wait);
    for (unsigned i = 0; i < vm->config.port_count; i++)
        chr_set_wait(vm->ports[i].chr, wait);
}

static int vm_open_backends(struct vm *vm, struct error *err)
{
    const struct vm_config *c = &vm->config;
    vm->loop = loop_new(err);
    if (!vm->loop)
        return -err->code;
    int rc = vm_open_disks(vm->disks, c->disks, c->disk_count, err);
    if (!rc)
        rc = vm_open_disks(vm->flash, c->flash, c->flash_count, err);
    if (rc)
        return rc;
    for (unsigned i = 0; i < c->net_count; i++) {
        vm->nets[i] = net_open(c->nets[i], i, vm->loop, err);
        if (!vm->nets[i])
            return -err->code;
    }
    for (unsigned i = 0; i < c->share_count; i++) {
        vm->shares[i] = share_open(c->shares[i], i, err);
        if (!vm->shares[i])
            return -err->code;
    }
    if (c->vsock)
        vm->vsock = vsock_open(c->vsock, vm->loop, err);
    return c->vsock && !vm->vsock ? -err->code : vm_open_ports(vm, err);
}

static int vm_build_machine(struct vm *vm, struct error *err)
{
    const struct vm_config *c = &vm->config;
    const struct virt_config board = {
        .cpus = c->cpus,
        .memory = c->memory,
        .address_bits = c->address_bits,
        .deterministic = c->deterministic,
        .pci = c->pci,
        .aia = c->aia,
        .kernel = c->kernel,
        .initrd = c->initrd,
        .append = c->append,
        .firmware = c->firmware,
        .flash = vm->flash,
        .flash_count = c->flash_count,
        .boot_at_once = c->boot_at_once,
        .console = vm->console,
        .disks = vm->disks,
        .disk_count = c->disk_count,
        .nets = vm->nets,
        .net_count = c->net_count,
        .shares = vm->shares,
        .share_count = c->share_count,
        .vsock = vm->vsock,
        .ports = vm->ports,
        .port_count = c->port_count,
        .loop = vm->loop,
        .balloon =
            c->balloon == VM_BALLOON_ON || (c->balloon == VM_BALLOON_AUTO && !c->deterministic),
        .balloon_target = c->balloon_target,
    };
    vm->machine = virt_new(&board, err);
    if (!vm->machine)
        return -err->code;
    vm->machine->power = vm_power;
    vm->machine->power_ctx = vm;
    vm->machine->clock.changed = vm_clock_changed;
    vm->machine->clock.changed_ctx = vm;
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++) {
        struct vcpu *v = &vm->machine->vcpus[i];
        v->engine = vm->engine;
        v->code_cache = vm->config.code_cache;
        v->archive = vm->config.archive;
        int rc = vm->engine->attach(v, err);
        if (rc)
            return rc;
        if (vm->dump)
            vm->engine->dump(v, vm->dump);
    }
    return 0;
}

/*
 * Guest memory is given page by page when it is touched, so the host would promise any amount; a
 * guest that believed it would take the host down.
 */
static int vm_check_memory(uint64_t memory, struct error *err)
{
    struct sysinfo host;
    if (sysinfo(&host))
        return 0;
    uint64_t has = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
    if (memory > has)
        return error_set(err, ENOMEM, "memory of %llu MiB: this host has %llu MiB",
                         (unsigned long long)(memory >> 20), (unsigned long long)(has >> 20));
    return 0;
}

/* What a server answers, and whether it does, is no part of the machine's state. */
static int vm_check_disks(const struct vm_disk *disks, unsigned count, struct error *err)
{
    for (unsigned i = 0; i < count; i++)
        if (block_is_remote(disks[i].path))
            return error_set(err, EINVAL,
                             "a deterministic run cannot have the disk %s, which a server has",
                             disks[i].path);
    return 0;
}

static int vm_check(const struct vm_config *c, struct error *err)
{
    if (c->disk_count > VM_MAX_DISKS)
        return error_set(err, EINVAL, "%u disks: the machine takes up to %d", c->disk_count,
                         VM_MAX_DISKS);
    if (c->flash_count > VM_MAX_FLASH)
        return error_set(err, EINVAL, "%u banks of flash: the machine takes up to %d",
                         c->flash_count, VM_MAX_FLASH);
    if (c->net_count > VM_MAX_NETS)
        return error_set(err, EINVAL, "%u networks: the machine takes up to %d", c->net_count,
                         VM_MAX_NETS);
    int rc = c->deterministic ? vm_check_disks(c->disks, c->disk_count, err) : 0;
    if (!rc && c->deterministic)
        rc = vm_check_disks(c->flash, c->flash_count, err);
    if (rc)
        return rc;
    for (unsigned i = 0; c->deterministic && i < c->net_count; i++)
        if (net_reaches_outside(c->nets[i]))
            return error_set(err, EINVAL,
                             "network '%s' brings what cannot be repeated into a deterministic "
                             "run, which can have the network none only",
                             c->nets[i]);
    if (c->share_count > VM_MAX_SHARES)
        return error_set(err, EINVAL, "%u shared folders: the machine takes up to %d",
                         c->share_count, VM_MAX_SHARES);
    if (c->deterministic && c->share_count)
        return error_set(err, EINVAL, "a deterministic run cannot share %s, which others change",
                         c->shares[0]);
    if (c->deterministic && c->vsock)
        return error_set(err, EINVAL,
                         "a deterministic run cannot have the socket %s, where others connect",
                         c->vsock);
    if (c->port_count > VM_MAX_PORTS)
        return error_set(err, EINVAL, "%u ports: the machine takes up to %d", c->port_count,
                         VM_MAX_PORTS);
    for (unsigned i = 0; c->deterministic && i < c->port_count; i++)
        if (chr_port_listens(c->ports[i]))
            return error_set(err, EINVAL,
                             "a deterministic run cannot have the port %s, where others connect; "
                             "file:PATH it can",
                             c->ports[i]);
    if (c->run_for && !c->deterministic)
        return error_set(err, EINVAL, "a run of a given length needs the deterministic mode");
    return vm_check_memory(c->memory, err);
}

static int vm_build(struct vm *vm, struct error *err)
{
    int rc = vm_check(&vm->config, err);
    if (!rc)
        rc = vm_pick_engine(vm, err);
    if (!rc)
        rc = vm_open_dump(vm, err);
    if (!rc)
        rc = vm_open_backends(vm, err);
    /* The console comes last but for the machine: from then on the terminal is raw. */
    if (!rc) {
        vm->console = chr_open(vm->config.console, vm->loop, err);
        rc = vm->console ? 0 : -err->code;
    }
    if (!rc)
        rc = vm_build_machine(vm, err);
    if (!rc)
        rc = vm->machine->ops->reset(vm->machine, err);
    if (!rc && vm->config.load)
        rc = vm_load(vm, vm->config.load, err);
    if (!rc && vm->config.load && !vm->config.deterministic)
        virt_announce(vm->machine);
    if (!rc && vm->config.gdb)
        rc = vm_debug_open(vm, err);
    if (!rc)
        chr_set_quit(vm->console, vm_console_quit, vm);
    return rc;
}

struct vm *vm_new(const struct vm_config *config, struct error *err)
{
    struct vm *vm = calloc(1, sizeof *vm);
    if (!vm) {
        error_set(err, ENOMEM, "out of memory for a machine");
        return NULL;
    }
    vm->config = *config;
    vm->held = config->paused;
    vm->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    pthread_mutex_init(&vm->lock, NULL);
    pthread_mutex_init(&vm->clock_lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    loop_timer_init(&vm->clock_timer, vm_clock_due, vm);
    vm_reclaim_init(vm);
    loop_job_init(&vm->event_job, vm_event, vm);
    loop_job_init(&vm->quit_job, vm_quit_job, vm);
    struct error local;
    if (vm_build(vm, err ? err : &local)) {
        if (vm->console)
            chr_abandon(vm->console);
        for (unsigned i = 0; i < VM_MAX_PORTS; i++)
            if (vm->ports[i].chr)
                chr_abandon(vm->ports[i].chr);
        vm_free(vm);
        return NULL;
    }
    return vm;
}

void vm_remove_sockets(struct vm *vm)
{
    if (vm->vsock)
        vsock_release(vm->vsock);
    if (vm->console)
        chr_remove(vm->console);
    for (unsigned i = 0; i < VM_MAX_PORTS; i++)
        if (vm->ports[i].chr)
            chr_remove(vm->ports[i].chr);
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    vm_debug_close(vm);
    if (vm->machine) {
        for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
            if (vm->machine->vcpus[i].engine)
                vm->machine->vcpus[i].engine->detach(&vm->machine->vcpus[i]);
        vm->machine->ops->free(vm->machine);
    }
    if (!vm->broker)
        vm_remove_sockets(vm);
    chr_free(vm->console);
    for (unsigned i = 0; i < VM_MAX_PORTS; i++)
        chr_free(vm->ports[i].chr);
    for (unsigned i = 0; i < VM_MAX_DISKS; i++)
        block_free(vm->disks[i]);
    for (unsigned i = 0; i < VM_MAX_FLASH; i++)
        block_free(vm->flash[i]);
    for (unsigned i = 0; i < VM_MAX_NETS; i++)
        net_free(vm->nets[i]);
    for (unsigned i = 0; i < VM_MAX_SHARES; i++)
        share_free(vm->shares[i]);
    vsock_free(vm->vsock);
    loop_free(vm->loop);
    if (vm->dump)
        fclose(vm->dump);
    if (vm->statm >= 0)
        close(vm->statm);
    if (!vm->broker && vm->gdb_path)
        unlink(vm->gdb_path);
    broker_free(vm->broker);
    free(vm->gdb_path);
    pthread_cond_destroy(&vm->changed);
    pthread_mutex_destroy(&vm->clock_lock);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}

/* ---- running ---- */

static int vm_devices_start(struct vm *vm, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < vm->machine->device_count; i++)
        rc = device_start(vm->machine->devices[i], err);
    return rc;
}

int vm_run(struct vm *vm, struct vm_result *result, struct error *err)
{
    pthread_t threads[VM_MAX_CPUS];
    vm->ended = false;
    vm->failed = 0;
    vm_wait_for_output(vm, vm->config.deterministic);
    int rc = vm_devices_start(vm, err);
    if (!rc)
        rc = vm_threads_start(vm, threads, err);
    if (rc)
        return rc;
    vm->started_ns = loop_now_ns();
    vm_go_on(vm);
    vm_reclaim_start(vm);
    loop_run(vm->loop);
    vm_reclaim_stop(vm);
    /* A vCPU that waits for somebody to read its output could not end. */
    vm_wait_for_output(vm, false);
    vm_threads_end(vm, threads);
    clock_stop(&vm->machine->clock);
    loop_timer_cancel(vm->loop, &vm->clock_timer);
    vm->host_ns += loop_now_ns() - vm->started_ns;
    vm->started_ns = 0;
    vm_debug_ended(vm);
    *result = vm->result;
    if (vm->failed)
        *err = vm->error;
    return vm->failed;
}

/* ---- asking ---- */

static uint64_t resident_kib(const struct vm *vm)
{
    char text[128];
    unsigned long pages = 0;
    ssize_t n = vm->statm < 0 ? -1 : pread(vm->statm, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    if (sscanf(text, "%*u %lu", &pages) != 1)
        pages = 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* For what belongs to the vCPUs' threads: stops them. False: they were still. */
static bool vm_still(struct vm *vm)
{
    bool runs = vm->state == RUN_RUNNING;
    if (runs)
        vm_pause(vm);
    return runs;
}

uint64_t vm_guest_ns(struct vm *vm)
{
    bool runs = vm->machine->clock.is_virtual && vm_still(vm);
    uint64_t ns = clock_ns(&vm->machine->clock);
    if (runs)
        vm_event(vm); /* what has happened meanwhile comes before going on */
    return ns;
}

uint64_t vm_host_ns(const struct vm *vm)
{
    return vm->host_ns + (vm->started_ns ? loop_now_ns() - vm->started_ns : 0);
}

void vm_stats(struct vm *vm, struct vm_stats *out)
{
    bool runs = vm_still(vm);
    *out = (struct vm_stats){
        .guest_ns = clock_ns(&vm->machine->clock),
        .host_ns = vm_host_ns(vm),
        .resident_kib = resident_kib(vm),
        .given_back_kib = vm->reclaim.dropped / 1024,
    };
    struct virtio_balloon_stats b;
    if (virt_balloon_stats(vm->machine, &b))
        out->ballooned_kib = b.given_back / 1024;
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++) {
        struct engine_stats s;
        vm->engine->stats(&vm->machine->vcpus[i], &s);
        engine_stats_add(&out->engine, &s);
    }
    if (runs)
        vm_event(vm);
}

bool vm_net_stats(struct vm *vm, unsigned net, struct net_stats *out)
{
    if (net >= vm->config.net_count)
        return false;
    net_stats(vm->nets[net], out);
    return true;
}

bool vm_link(struct vm *vm, unsigned net)
{
    return virt_plugged(vm->machine, net);
}

bool vm_disk_info(struct vm *vm, unsigned disk, struct vm_disk_info *out)
{
    if (disk >= vm->config.disk_count)
        return false;
    const struct block *b = vm->disks[disk];
    *out = (struct vm_disk_info){
        .path = block_path(b),
        .format = block_format(b),
        .size = block_size(b),
        .readonly = block_readonly(b),
    };
    struct virtio_blk_stats s;
    virt_disk_stats(vm->machine, disk, &s);
    out->reads = s.reads;
    out->read_bytes = s.read_bytes;
    out->writes = s.writes;
    out->write_bytes = s.write_bytes;
    out->flushes = s.flushes;
    out->discards = s.discards;
    out->errors = s.errors;
    return true;
}

int vm_set_link(struct vm *vm, unsigned net, bool up)
{
    if (net >= vm->config.net_count)
        return -ENODEV;
    virt_set_link(vm->machine, net, up);
    return 0;
}

const struct vm_config *vm_config(const struct vm *vm)
{
    return &vm->config;
}

const char *vm_engine_name(const struct vm *vm)
{
    return vm->engine->name;
}

struct loop *vm_loop(struct vm *vm)
{
    return vm->loop;
}

/* ---- control ---- */

enum vm_activity vm_activity(const struct vm *vm)
{
    if (vm->held)
        return VM_PAUSED;
    return vm->debug_held ? VM_DEBUGGED : VM_RUNNING;
}

void vm_hold(struct vm *vm)
{
    vm->held = true;
    vm_pause(vm);
    vm_drain(vm);
}

void vm_release(struct vm *vm)
{
    vm->held = false;
    vm_event(vm);
}

int vm_restart(struct vm *vm, struct error *err)
{
    pthread_mutex_lock(&vm->lock);
    vm->reset_pending = true;
    pthread_mutex_unlock(&vm->lock);
    vm_event(vm);
    if (vm->failed && err)
        *err = vm->error;
    return vm->failed;
}

bool vm_press_power(struct vm *vm)
{
    return virt_press_power(vm->machine);
}

int vm_set_balloon(struct vm *vm, uint64_t bytes)
{
    return virt_balloon_set(vm->machine, bytes) ? 0 : -ENODEV;
}

bool vm_balloon_ask(struct vm *vm)
{
    return virt_balloon_ask(vm->machine);
}

bool vm_balloon_stats(struct vm *vm, struct virtio_balloon_stats *out)
{
    return virt_balloon_stats(vm->machine, out);
}

const void *vm_device_tree(struct vm *vm, size_t *size)
{
    return virt_device_tree(vm->machine, size);
}

const char *vm_console_path(const struct vm *vm)
{
    return chr_path(vm->console);
}
