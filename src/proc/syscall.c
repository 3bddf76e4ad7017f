#include "proc/syscall.h"

#include "base/bits.h"
#include "proc/path.h"
#include "proc/seccomp.h"
#include "proc/strace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls that are younger than the headers guise may be built with. */
enum {
    HOST_FIRST_NEW = 451,
    HOST_cachestat = HOST_FIRST_NEW,
    HOST_fchmodat2,
    HOST_map_shadow_stack,
    HOST_futex_wake,
    HOST_futex_wait,
    HOST_futex_requeue,
    HOST_statmount,
    HOST_listmount,
    HOST_lsm_get_self_attr,
    HOST_lsm_set_self_attr,
    HOST_lsm_list_modules,
    HOST_mseal,
};
#ifndef SYS_cachestat
#define SYS_cachestat HOST_cachestat
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 HOST_fchmodat2
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake HOST_futex_wake
#define SYS_futex_wait HOST_futex_wait
#define SYS_futex_requeue HOST_futex_requeue
#endif
#ifndef SYS_statmount
#define SYS_statmount HOST_statmount
#define SYS_listmount HOST_listmount
#endif
#ifndef SYS_lsm_get_self_attr
#define SYS_lsm_get_self_attr HOST_lsm_get_self_attr
#define SYS_lsm_set_self_attr HOST_lsm_set_self_attr
#define SYS_lsm_list_modules HOST_lsm_list_modules
#endif
#ifndef SYS_mseal
#define SYS_mseal HOST_mseal
#endif

static int64_t syscall_none(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    (void)a;
    return -ENOSYS;
}

static const struct syscall syscall_table[] = {
#define PASS(number, name, ...) [number] = {#name, NULL, SYS_##name, false, {__VA_ARGS__}},
#define PATH(number, name, ...) [number] = {#name, NULL, SYS_##name, true, {__VA_ARGS__}},
#define CALL(number, name, ...) [number] = {#name, sys_##name, 0, false, {__VA_ARGS__}},
#define NONE(number, name, ...) [number] = {#name, syscall_none, 0, false, {__VA_ARGS__}},
#include "proc/syscalls.def"
#undef PASS
#undef PATH
#undef CALL
#undef NONE
};

const struct syscall *syscall_find(uint64_t number)
{
    if (number >= ARRAY_SIZE(syscall_table) || !syscall_table[number].name)
        return NULL;
    return &syscall_table[number];
}

/* ---- paths ---- */

static bool path_follows(const struct syscall *c, unsigned arg, const uint64_t a[SYSCALL_ARGS])
{
    bool follow = c->type[arg] == T_PATH;
    for (unsigned i = 0; i < SYSCALL_ARGS; i++) {
        if (c->type[i] == T_AT && (a[i] & AT_SYMLINK_NOFOLLOW))
            follow = false;
        else if (c->type[i] == T_AT && (a[i] & AT_SYMLINK_FOLLOW))
            follow = true;
    }
    return follow;
}

/* No call has more than two paths. */
static int64_t syscall_with_paths(struct thread *t, const struct syscall *c,
                                  const uint64_t a[SYSCALL_ARGS])
{
    struct path path[2];
    uint64_t b[SYSCALL_ARGS];
    unsigned used = 0;
    for (unsigned i = 0; i < SYSCALL_ARGS; i++) {
        b[i] = a[i];
        if ((c->type[i] == T_PATH || c->type[i] == T_LPATH) && used < ARRAY_SIZE(path)) {
            path_look_up(t, a[i], path_follows(c, i, a), &path[used]);
            b[i] = path[used++].address;
        }
    }
    return syscall_host(t, c->host, b);
}

/* ---- guise's descriptors ---- */

/* May an argument be one? Tells no more than that a number is the same. */
static inline bool syscall_maybe_own(const struct process *p, const uint64_t a[SYSCALL_ARGS])
{
    bool found = false;
    for (unsigned i = 0; i < SYSCALL_ARGS; i++)
        found |= (int)a[i] == p->self_fd || (int)a[i] == p->exe_fd;
    return found;
}

/* What the program takes for its own descriptor is none: the kernel says so in each case. */
static __attribute__((noinline)) void
syscall_hide_own(const struct process *p, const struct syscall *c, uint64_t a[SYSCALL_ARGS])
{
    for (unsigned i = 0; i < SYSCALL_ARGS; i++)
        if ((c->type[i] == T_FD || c->type[i] == T_DIRFD) && syscall_own_fd(p, a[i]))
            a[i] = INT_MAX;
}

/* ---- dispatch ---- */

static inline int64_t syscall_do(struct thread *t, const struct syscall *c,
                                 uint64_t a[SYSCALL_ARGS])
{
    if (unlikely(!c))
        return -ENOSYS;
    if (unlikely(syscall_maybe_own(t->process, a)))
        syscall_hide_own(t->process, c, a);
    if (c->serve)
        return c->serve(t, a);
    return c->paths ? syscall_with_paths(t, c, a) : syscall_host(t, c->host, a);
}

/* With filters or --strace. */
static __attribute__((noinline)) int64_t syscall_watched(struct thread *t, uint64_t number,
                                                         const struct syscall *c,
                                                         uint64_t a[SYSCALL_ARGS])
{
    bool told = t->process->config->strace;
    int64_t result;
    if (told)
        strace_enter(t, number, a);
    if (!t->seccomp.active || seccomp_allows(t, number, a, &result))
        result = syscall_do(t, c, a);
    if (told)
        strace_leave(t, number, a, result);
    return result;
}

void syscall_serve(struct thread *t)
{
    struct rv_hart *h = t->hart;
    const uint64_t *x = &h->x[REG_A0];
    uint64_t a[SYSCALL_ARGS] = {x[0], x[1], x[2], x[3], x[4], x[5]};
    uint64_t number = h->x[REG_A7];
    const struct syscall *c = syscall_find(number);
    int64_t result;
    if (unlikely(t->seccomp.active || t->process->config->strace))
        result = syscall_watched(t, number, c, a);
    else
        result = syscall_do(t, c, a);
    if (unlikely(result == -THREAD_RESTART)) {
        h->pc -= 4;
    } else if (likely(result != SYSCALL_NO_RESULT)) {
        h->x[REG_A0] = (uint64_t)result;
    }
}

/* ---- for handlers ---- */

bool syscall_own_fd(const struct process *p, uint64_t fd)
{
    int n = (int)fd;
    return n >= 0 && (n == p->self_fd || n == p->exe_fd);
}

bool syscall_capable(unsigned capability)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &head, data))
        return false;
    return data[capability / 32].effective >> (capability % 32) & 1;
}
