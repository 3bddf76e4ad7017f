/*
 * System calls: the table (syscalls.def) and what those who serve them share.
 *
 * Guest addresses are host addresses, so pointers go to the host's kernel as they are and it is the
 * kernel that finds bad ones. Guise itself reads and writes the program's memory only through
 * guest_read and guest_write, on copies of its own.
 *
 * Handlers run on the thread that calls, outside of its engine. What may wait goes through
 * syscall_host; calls that cannot may use the C library.
 */
#pragma once

#include "proc/process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an argument is; the registers' upper halves count only for those of 64 bits. */
enum syscall_type {
    T_END, /* no more arguments */
    /* numbers */
    T_INT,
    T_UINT,
    T_LONG, /* 64 bits, signed */
    T_SIZE, /* 64 bits, unsigned */
    T_HEX,  /* 64 bits, or flags without names */
    T_MODE, /* octal */
    T_PTR,  /* address of anything */
    T_FD,
    T_DIRFD, /* or AT_FDCWD */
    /* addresses of strings */
    T_PATH,    /* of a file, links are followed unless a T_AT says otherwise */
    T_LPATH,   /* of a file or link, which is not followed unless a T_AT says otherwise */
    T_NEWPATH, /* of a file that is made */
    T_STR,     /* not a path that is looked up here */
    /* addresses of more, which --strace prints */
    T_IN,       /* bytes for the kernel; the next argument tells how many */
    T_OUT,      /* bytes from the kernel; the result tells how many */
    T_IOVEC,    /* for the kernel; the next argument tells how many */
    T_ARGV,     /* addresses of strings up to NULL */
    T_FDS,      /* two descriptors from the kernel */
    T_TIME,     /* struct timespec */
    T_TIME_OUT, /* from the kernel */
    T_STAT,     /* from the kernel */
    T_POLL,     /* the next argument tells how many */
    T_SIGSET,
    T_SIGACTION,
    T_SOCKADDR,
    T_WSTATUS,
    /* numbers with names: strace_names.def */
    T_NAMED,
    T_SIG = T_NAMED,
    T_OPEN,
    T_FD_FLAGS,
    T_AT,
    T_UNLINK,
    T_ACCESS,
    T_WHENCE,
    T_FCNTL,
    T_IOCTL,
    T_FLOCK,
    T_MOUNT,
    T_PROT,
    T_MAP,
    T_MREMAP,
    T_MADVICE,
    T_MSYNC,
    T_CLONE,
    T_FUTEX,
    T_WAIT,
    T_CLOCK,
    T_SIGHOW,
    T_EPOLL_OP,
    T_RLIMIT,
    T_PRCTL,
    T_IPC,
    T_FAMILY,
    T_SOCK,
    T_SOL,
    T_MSG,
    T_COUNT
};

#define SYSCALL_ARGS 6

struct syscall {
    const char *name;
    int64_t (*serve)(struct thread *t, const uint64_t a[SYSCALL_ARGS]); /* NULL: the host's */
    uint16_t host;                                                      /* its number */
    bool paths;                                                         /* look-up is needed */
    uint8_t type[SYSCALL_ARGS];                                         /* enum syscall_type */
};

/* NULL: there is no call with this number. */
const struct syscall *syscall_find(uint64_t number);

/* The call has set all registers itself. Like -THREAD_RESTART, not a result that the kernel has. */
#define SYSCALL_NO_RESULT (-513)

#define PASS(number, name, ...)
#define PATH(number, name, ...)
#define CALL(number, name, ...) \
    int64_t sys_##name(struct thread *t, const uint64_t a[SYSCALL_ARGS]);
#define NONE(number, name, ...)
#include "proc/syscalls.def"
#undef PASS
#undef PATH
#undef CALL
#undef NONE

/* ---- for handlers ---- */

/* The host's call with the arguments a. As thread_host_call. */
static inline int64_t syscall_host(struct thread *t, long number, const uint64_t a[SYSCALL_ARGS])
{
    return thread_host_call(t, number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* From and to the program's memory. False: EFAULT. */
static inline bool guest_read(void *to, uint64_t from, size_t size)
{
    return guarded_copy(to, (const void *)(uintptr_t)from, size);
}

static inline bool guest_write(uint64_t to, const void *from, size_t size)
{
    return guarded_copy((void *)(uintptr_t)to, from, size);
}

static inline uint64_t guest_address(const void *host)
{
    return (uint64_t)(uintptr_t)host;
}

/* Is it a descriptor of guise, which the program is not to see? */
bool syscall_own_fd(const struct process *p, uint64_t fd);

/* Has the calling thread the capability (CAP_...) in its own user namespace? */
bool syscall_capable(unsigned capability);
