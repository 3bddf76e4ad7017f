/* Calls that open, read and describe files by their paths. */
#include "proc/guest_abi.h"
#include "proc/path.h"
#include "proc/proc_other.h"
#include "proc/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- opening ---- */

static bool open_follows(uint64_t flags)
{
    return !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
}

/* Is it one of the files that are made here? A bare handle of it may be the host's. */
static bool open_made(const struct path *path, uint64_t flags)
{
    return path->proc != PROC_FILE_NONE && path->proc != PROC_FILE_EXE && !(flags & O_PATH);
}

/* What a debugger writes there is not seen: all code of its tracees may be other code then. */
static void open_memory(struct thread *t, const struct path *path, uint64_t flags)
{
    if (path->memory && (flags & O_ACCMODE) != O_RDONLY)
        atomic_store(&t->process->tracer.writes, true);
}

int64_t sys_openat(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct path path;
    path_look_up(t, a[1], open_follows(a[2]), &path);
    open_memory(t, &path, a[2]);
    if (open_made(&path, a[2]))
        return proc_file_open(t, &path, a[2]);
    return thread_host_call(t, SYS_openat, a[0], path.address, a[2], a[3], 0, 0);
}

int64_t sys_openat2(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct guest_open_how how;
    if (a[3] < sizeof how || !guest_read(&how, a[2], sizeof how) || how.resolve)
        return syscall_host(t, SYS_openat2, a);
    struct path path;
    path_look_up(t, a[1], open_follows(how.flags), &path);
    open_memory(t, &path, how.flags);
    if (open_made(&path, how.flags))
        return proc_file_open(t, &path, how.flags);
    return thread_host_call(t, SYS_openat2, a[0], path.address, a[2], a[3], 0, 0);
}

/* The link of the program's file leads to the program, not to guise. */
static int64_t readlink_exe(const char *exe, uint64_t buf, uint64_t size)
{
    size_t n = strlen(exe);
    if ((int)size <= 0)
        return -EINVAL;
    if (n > (uint32_t)size)
        n = (uint32_t)size;
    return guest_write(buf, exe, n) ? (int64_t)n : -EFAULT;
}

int64_t sys_readlinkat(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct path path;
    path_look_up(t, a[1], false, &path);
    if (path.proc == PROC_FILE_EXE && !path.other)
        return readlink_exe(t->process->exe, a[2], a[3]);
    if (path.proc == PROC_FILE_EXE && proc_other_exe(path.other, path.text))
        return readlink_exe(path.text, a[2], a[3]);
    return thread_host_call(t, SYS_readlinkat, a[0], path.address, a[2], a[3], 0, 0);
}

/* ---- stat ---- */

static int64_t stat_give(uint64_t to, const struct stat *s)
{
    const struct guest_stat g = {
        .dev = s->st_dev,
        .ino = s->st_ino,
        .mode = s->st_mode,
        .nlink = (uint32_t)s->st_nlink,
        .uid = s->st_uid,
        .gid = s->st_gid,
        .rdev = s->st_rdev,
        .size = s->st_size,
        .blksize = (int32_t)s->st_blksize,
        .blocks = s->st_blocks,
        .atime = s->st_atim.tv_sec,
        .atime_nsec = s->st_atim.tv_nsec,
        .mtime = s->st_mtim.tv_sec,
        .mtime_nsec = s->st_mtim.tv_nsec,
        .ctime = s->st_ctim.tv_sec,
        .ctime_nsec = s->st_ctim.tv_nsec,
    };
    return guest_write(to, &g, sizeof g) ? 0 : -EFAULT;
}

int64_t sys_newfstatat(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct path path;
    struct stat s;
    path_look_up(t, a[1], !(a[3] & AT_SYMLINK_NOFOLLOW), &path);
    int64_t rc =
        thread_host_call(t, SYS_newfstatat, a[0], path.address, guest_address(&s), a[3], 0, 0);
    return rc ? rc : stat_give(a[2], &s);
}

int64_t sys_fstat(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct stat s;
    int64_t rc = thread_host_call(t, SYS_fstat, a[0], guest_address(&s), 0, 0, 0, 0);
    return rc ? rc : stat_give(a[1], &s);
}
