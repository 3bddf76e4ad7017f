/*
 * What a machine's process gives up before the guest's first instruction, and what it has a broker
 * for afterwards (docs/confinement.md).
 */
#include "vmm/vm_internal.h"

#include "sandbox/broker.h"
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what the broker does; ctx is its copy of the machine ---- */

enum { JOB_SCHEDSTAT, JOB_SAVE_BEGIN, JOB_SAVE_END, JOB_SOCKETS, JOB_VSOCK, JOB_NET /* + card */ };
#define JOBS (JOB_NET + VM_MAX_NETS)

static int job_schedstat(void *ctx, unsigned arg, int *fd)
{
    char path[64];
    (void)ctx;
    snprintf(path, sizeof path, "/proc/%d/task/%u/schedstat", (int)getppid(), arg);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? -errno : 0;
}

static int job_save_begin(void *ctx, unsigned arg, int *fd)
{
    struct vm *vm = ctx;
    (void)arg;
    *fd = vm->save_path ? vm_save_begin(vm->save_path) : -EPERM;
    return *fd < 0 ? *fd : 0;
}

static int job_save_end(void *ctx, unsigned arg, int *fd)
{
    struct vm *vm = ctx;
    (void)fd;
    return vm->save_path ? vm_save_end(vm->save_path, arg) : -EPERM;
}

static void job_sockets_end(void *ctx)
{
    struct vm *vm = ctx;
    if (vm->gdb_path)
        unlink(vm->gdb_path);
    vm_remove_sockets(vm);
    if (vm->at_end)
        vm->at_end(vm->at_end_ctx);
}

static int job_vsock(void *ctx, unsigned arg, int *fd)
{
    struct vm *vm = ctx;
    *fd = vm->vsock ? vsock_dial(vm->vsock, arg) : -EPERM;
    return *fd < 0 ? *fd : 0;
}

static int job_net(void *ctx, unsigned arg, int *fd)
{
    struct net_link link = {.fd = -1};
    int rc = net_reopen(ctx, arg, &link);
    *fd = link.fd;
    return rc ? rc : link.hub;
}

static void job_net_end(void *ctx)
{
    net_release(ctx);
}

static int confine_start_broker(struct vm *vm, struct error *err)
{
    struct broker_job jobs[JOBS] = {
        [JOB_SCHEDSTAT] = {.run = job_schedstat, .ctx = vm},
        [JOB_SAVE_BEGIN] = {.run = job_save_begin, .ctx = vm},
        [JOB_SAVE_END] = {.run = job_save_end, .ctx = vm},
        [JOB_VSOCK] = {.run = job_vsock, .ctx = vm},
        [JOB_SOCKETS] = {.end = job_sockets_end, .ctx = vm},
    };
    for (unsigned i = 0; i < vm->config.net_count; i++)
        jobs[JOB_NET + i] =
            (struct broker_job){.run = job_net, .end = job_net_end, .ctx = vm->nets[i]};
    vm->broker = broker_new(jobs, JOBS, err);
    return vm->broker ? 0 : -err->code;
}

/* ---- what the confined process asks for ---- */

static int confine_open_net(void *ctx, unsigned queue, struct net_link *link)
{
    struct vm_net_opener *o = ctx;
    int rc = broker_call(o->broker, JOB_NET + o->index, queue, &link->fd);
    link->hub = rc > 0;
    return rc < 0 ? rc : 0;
}

static int confine_open_vsock(void *ctx, uint32_t port)
{
    int fd;
    int rc = broker_call(ctx, JOB_VSOCK, port, &fd);
    return rc < 0 ? rc : fd;
}

int vm_open_schedstat(struct vm *vm)
{
    int fd;
    if (!vm->broker)
        return open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    broker_call(vm->broker, JOB_SCHEDSTAT, (unsigned)gettid(), &fd);
    return fd;
}

int vm_confined_save_begin(struct vm *vm, const char *path)
{
    int fd;
    if (!vm->broker)
        return vm_save_begin(path);
    if (!vm->save_path || strcmp(path, vm->save_path))
        return -EPERM;
    int rc = broker_call(vm->broker, JOB_SAVE_BEGIN, 0, &fd);
    return rc ? rc : fd;
}

int vm_confined_save_end(struct vm *vm, const char *path, bool complete)
{
    int fd;
    return vm->broker ? broker_call(vm->broker, JOB_SAVE_END, complete, &fd)
                      : vm_save_end(path, complete);
}

/* ---- what is left to it ---- */

static unsigned confine_calls(const struct vm *vm, const struct vm_confinement *how)
{
    unsigned calls = CALLS_VM;
    if (vm->config.disk_count || vm->config.flash_count)
        calls |= CALLS_DISK;
    if (vm->config.net_count)
        calls |= CALLS_NET;
    if (vm->config.share_count)
        calls |= CALLS_SHARE;
    if (vm->config.gdb || vm->config.vsock || how->listens)
        calls |= CALLS_LISTEN;
    for (unsigned i = 0; i < vm->config.net_count; i++)
        calls |= net_may_listen(vm->nets[i]) ? CALLS_LISTEN : 0;
    for (unsigned i = 0; i < vm->config.port_count; i++)
        calls |= chr_port_listens(vm->config.ports[i]) ? CALLS_LISTEN : 0;
    if (!strncmp(vm->config.console, "unix:", 5))
        calls |= CALLS_LISTEN;
    if (!strcmp(vm->config.console, "stdio"))
        calls |= CALLS_TTY;
    return calls;
}

int vm_confine(struct vm *vm, const struct vm_confinement *how, struct confine_report *report,
               struct error *err)
{
    const struct confine confinement = {
        .calls = confine_calls(vm, how),
        .isolate = true,
        .user = how->user,
        .group = how->group,
    };
    vm->save_path = how->save;
    vm->at_end = how->at_end;
    vm->at_end_ctx = how->ctx;
    vm->gdb_path = vm->gdb ? gdbstub_take_path(vm->gdb) : NULL;
    int rc = confine_start_broker(vm, err);
    if (rc)
        return rc;
    for (unsigned i = 0; i < vm->config.net_count; i++) {
        vm->net_openers[i] = (struct vm_net_opener){vm->broker, i};
        net_set_opener(vm->nets[i], confine_open_net, &vm->net_openers[i]);
    }
    if (vm->vsock)
        vsock_set_opener(vm->vsock, confine_open_vsock, vm->broker);
    return confine(&confinement, report, err);
}
