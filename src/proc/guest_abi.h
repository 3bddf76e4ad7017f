/*
 * Structures and constants of riscv64 Linux that differ from x86-64's. All else that calls exchange
 * with the kernel has one layout on both: asm-generic/ is what riscv64 uses, and x86-64 differs
 * from it in few places.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* asm-generic/stat.h */
struct guest_stat {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, pad1;
    int64_t size;
    int32_t blksize, pad2;
    int64_t blocks;
    int64_t atime, atime_nsec;
    int64_t mtime, mtime_nsec;
    int64_t ctime, ctime_nsec;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct guest_stat) == 128, "struct stat of riscv64");
_Static_assert(offsetof(struct guest_stat, mode) == 16, "st_mode");
_Static_assert(offsetof(struct guest_stat, rdev) == 32, "st_rdev");
_Static_assert(offsetof(struct guest_stat, size) == 48, "st_size");
_Static_assert(offsetof(struct guest_stat, blocks) == 64, "st_blocks");
_Static_assert(offsetof(struct guest_stat, atime) == 72, "st_atime");

/* linux/eventpoll.h: packed only on x86-64. */
struct guest_epoll_event {
    uint32_t events, pad;
    uint64_t data;
};
_Static_assert(sizeof(struct guest_epoll_event) == 16, "struct epoll_event of riscv64");

/* asm-generic/ipcbuf.h and sembuf.h: x86-64 has room beside each time. */
struct guest_ipc_perm {
    int32_t key;
    uint32_t uid, gid, cuid, cgid, mode;
    uint16_t seq, pad2;
    uint32_t pad3;
    uint64_t unused[2];
};
struct guest_semid_ds {
    struct guest_ipc_perm perm;
    int64_t otime, ctime;
    uint64_t nsems, unused[2];
};
_Static_assert(sizeof(struct guest_ipc_perm) == 48, "struct ipc64_perm");
_Static_assert(offsetof(struct guest_semid_ds, ctime) == 56, "sem_ctime");
_Static_assert(offsetof(struct guest_semid_ds, nsems) == 64, "sem_nsems");
_Static_assert(sizeof(struct guest_semid_ds) == 88, "struct semid64_ds of riscv64");

/* linux/loop.h: struct loop_info, before loop_info64. */
#define GUEST_LOOP_NAME 64
#define GUEST_LOOP_KEY 32
struct guest_loop_info {
    int32_t number;
    uint32_t device;
    uint64_t inode;
    uint32_t rdevice;
    int32_t offset, encrypt_type, encrypt_key_size, flags;
    char name[GUEST_LOOP_NAME];
    uint8_t encrypt_key[GUEST_LOOP_KEY];
    uint64_t init[2];
    char reserved[4];
};
_Static_assert(offsetof(struct guest_loop_info, offset) == 20, "lo_offset");
_Static_assert(offsetof(struct guest_loop_info, init) == 136, "lo_init");
_Static_assert(sizeof(struct guest_loop_info) == 160, "struct loop_info of riscv64");

/* asm/hwprobe.h */
struct guest_hwprobe {
    int64_t key;
    uint64_t value;
};
_Static_assert(sizeof(struct guest_hwprobe) == 16, "struct riscv_hwprobe");

/* linux/sched.h: struct clone_args, version 2. */
struct guest_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal;
    uint64_t stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
};
#define GUEST_CLONE_ARGS_MIN 64
_Static_assert(sizeof(struct guest_clone_args) == 88, "struct clone_args");

/* linux/openat2.h */
struct guest_open_how {
    uint64_t flags, mode, resolve;
};
_Static_assert(sizeof(struct guest_open_how) == 24, "struct open_how");

/* The last argument of pselect6 and io_pgetevents. */
struct guest_sigset_arg {
    uint64_t set, size;
};
#define GUEST_SIGSET_SIZE 8

/* linux/ptrace.h: struct ptrace_syscall_info. */
struct guest_syscall_info {
    uint8_t op, pad[3];
    uint32_t arch;
    uint64_t pc, sp;
    union {
        struct {
            uint64_t number, args[6];
            uint32_t data, end; /* of a filter */
        } entry;
        struct {
            uint64_t result;
            uint8_t is_error, end;
        } exit;
    };
};
_Static_assert(offsetof(struct guest_syscall_info, entry) == 24, "struct ptrace_syscall_info");

/* linux/audit.h: little endian, 64 bits, EM_RISCV. */
#define GUEST_AUDIT_ARCH UINT32_C(0xc00000f3)

/* Flags of mmap that only x86-64 has: MAP_32BIT, MAP_ABOVE4G. */
#define GUEST_MAP_UNKNOWN UINT64_C(0xc0)
