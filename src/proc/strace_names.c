#include "base/bits.h"
#include "proc/strace_impl.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* O_LARGEFILE as the kernel has it; C libraries for 64 bits make it 0. */
#define HOST_O_LARGEFILE 0100000
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static const uint64_t strace_masks[T_COUNT] = {
#define KIND(type, mask) [type] = (mask),
#define NAME(type, value)
#include "proc/strace_names.def"
#undef KIND
#undef NAME
};

static const struct strace_name {
    enum syscall_type type;
    uint64_t value;
    const char *name;
} strace_names[] = {
#define KIND(type, mask)
#define NAME(type, value) {type, (uint64_t)(value), #value},
#include "proc/strace_names.def"
#undef KIND
#undef NAME
};

static const char *strace_find(enum syscall_type type, uint64_t value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(strace_names); i++)
        if (strace_names[i].type == type && strace_names[i].value == value)
            return strace_names[i].name;
    return NULL;
}

static void strace_signal(struct strace_line *l, uint64_t value)
{
    const char *name = sigabbrev_np((int)value);
    if (name)
        strace_put(l, "SIG%s", name);
    else if (value >= 32 && value <= SIGNAL_COUNT)
        strace_put(l, "SIGRT_%d", (int)value - 32);
    else
        strace_put(l, "%d", (int)value);
}

/* Prints the flags that have names; the rest is given back. */
static uint64_t strace_flags(struct strace_line *l, enum syscall_type type, uint64_t value,
                             bool first)
{
    for (unsigned i = 0; i < ARRAY_SIZE(strace_names); i++) {
        const struct strace_name *n = &strace_names[i];
        if (n->type != type || !n->value || (n->value & strace_masks[type]) ||
            (value & n->value) != n->value)
            continue;
        strace_put(l, "%s%s", first ? "" : "|", n->name);
        value &= ~n->value;
        first = false;
    }
    return value;
}

void strace_named(struct strace_line *l, enum syscall_type type, uint64_t value)
{
    uint64_t mask = strace_masks[type];
    size_t start = l->len;
    value = (uint32_t)value; /* all are int or unsigned int, or smaller */
    if (type == T_SIG) {
        strace_signal(l, value);
        return;
    }
    const char *name = mask || !value ? strace_find(type, value & mask) : NULL;
    if (name)
        strace_put(l, "%s", name);
    else if (value & mask)
        strace_put(l, "%#x", (unsigned)(value & mask));
    uint64_t rest = strace_flags(l, type, value & ~mask, l->len == start);
    if (rest || l->len == start)
        strace_put(l, "%s%#x", l->len == start ? "" : "|", (unsigned)rest);
}
