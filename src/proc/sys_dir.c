/*
 * Directories: those of /proc that list what is guise's own, its descriptors and the thread that
 * compiles, are read without them.
 */
#include "base/bits.h"
#include "proc/path.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* As the kernel writes it. */
struct dir_entry {
    uint64_t ino, off;
    uint16_t reclen;
    uint8_t type;
};
#define DIR_NAME 19     /* offset of the name */
#define DIR_BUFFER 4096 /* no more is read at a time where something is hidden */

typedef bool (*dir_fn)(struct thread *t, int number);

static bool dir_own_fd(struct thread *t, int number)
{
    return syscall_own_fd(t->process, (uint64_t)number);
}

static bool dir_own_task(struct thread *t, int number)
{
    struct process *p = t->process;
    bool own = number != getpid();
    pthread_mutex_lock(&p->lock);
    for (const struct thread *o = p->threads; o && own; o = o->next)
        own = o->tid != number;
    pthread_mutex_unlock(&p->lock);
    return own;
}

/* What is hidden in the directory; NULL: nothing. */
static dir_fn dir_hides(uint64_t fd)
{
    struct statfs fs;
    char link[64], path[64];
    if (fstatfs((int)fd, &fs) || fs.f_type != PROC_SUPER_MAGIC)
        return NULL;
    snprintf(link, sizeof link, "/proc/thread-self/fd/%d", (int)fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return NULL;
    path[n] = 0;
    switch (proc_dir_find(path, getpid())) {
    case PROC_DIR_FD:
        return dir_own_fd;
    case PROC_DIR_TASK:
        return dir_own_task;
    default:
        return NULL;
    }
}

/* Takes hidden entries out of n bytes of them. What is left. */
static int64_t dir_filter(struct thread *t, uint8_t *entries, int64_t n, dir_fn hides)
{
    int64_t kept = 0;
    struct dir_entry e;
    for (int64_t at = 0; at < n; at += e.reclen) {
        memcpy(&e, entries + at, DIR_NAME);
        const char *name = (const char *)entries + at + DIR_NAME;
        if (name[0] >= '0' && name[0] <= '9' && hides(t, atoi(name)))
            continue;
        memmove(entries + kept, entries + at, e.reclen);
        kept += e.reclen;
    }
    return kept;
}

int64_t sys_getdents64(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint8_t entries[DIR_BUFFER];
    dir_fn hides = dir_hides(a[0]);
    if (!hides)
        return syscall_host(t, SYS_getdents64, a);
    uint64_t size = (uint32_t)a[2] < sizeof entries ? (uint32_t)a[2] : sizeof entries;
    for (;;) {
        int64_t n =
            thread_host_call(t, SYS_getdents64, a[0], guest_address(entries), size, 0, 0, 0);
        if (n <= 0)
            return n;
        n = dir_filter(t, entries, n, hides);
        if (n)
            return guest_write(a[1], entries, (size_t)n) ? n : -EFAULT;
    }
}
