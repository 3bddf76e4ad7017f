#include "fsd/jail.h"

#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a mount namespace ---- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* A user namespace in which this user is itself, and all others nobody. */
static bool own_users(void)
{
    char uids[40], gids[40];
    snprintf(uids, sizeof uids, "%u %u 1", geteuid(), geteuid());
    snprintf(gids, sizeof gids, "%u %u 1", getegid(), getegid());
    return !unshare(CLONE_NEWUSER) && write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uids) && write_file("/proc/self/gid_map", gids);
}

/* The flags that a mount has must stay when it becomes read-only. */
static unsigned long kept_flags(const char *path)
{
    static const struct {
        unsigned long has, keep;
    } flags[] = {{ST_NOSUID, MS_NOSUID},         {ST_NODEV, MS_NODEV},
                 {ST_NOEXEC, MS_NOEXEC},         {ST_NOATIME, MS_NOATIME},
                 {ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME},
                 {ST_RDONLY, MS_RDONLY}};
    struct statvfs v;
    unsigned long kept = 0;
    if (!statvfs(path, &v))
        for (unsigned i = 0; i < COUNT(flags); i++)
            kept |= v.f_flag & flags[i].has ? flags[i].keep : 0;
    return kept;
}

/* The folder becomes the root of a mount namespace of our own. */
static bool own_mounts(const char *path, bool readonly)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS))
        return false;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount(path, path, NULL, MS_BIND | MS_REC, NULL))
        return false;
    if (readonly &&
        mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | kept_flags(path), NULL))
        return false;
    if (chdir(path) || syscall(SYS_pivot_root, ".", "."))
        return false;
    return !umount2(".", MNT_DETACH) && !chdir("/");
}

/* ---- with landlock ---- */

static int open_folder(const char *path, int *fd, struct error *err)
{
    *fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *fd >= 0 ? 0 : error_set(err, errno, "%s: cannot be shared: %s", path, strerror(errno));
}

int jail_files(const char *path, bool readonly, int *root, struct error *err)
{
    struct stat folder, top;
    int fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fds < 0)
        return error_set(err, errno, "/proc/self/fd cannot be opened: %s", strerror(errno));
    int rc = open_folder(path, root, err);
    if (rc)
        return rc;
    bool whole = !fstat(*root, &folder) && !stat("/", &top) && folder.st_ino == top.st_ino &&
                 folder.st_dev == top.st_dev;
    bool mounts = !whole && own_users() && own_mounts(path, readonly);
    if (mounts) {
        close(*root);
        rc = open_folder("/", root, err);
    }
    if (rc || fchdir(fds))
        return error_set(err, errno, "%s: cannot be entered: %s", path, strerror(errno));
    close(fds);
    const struct landlock_path inside = {.fd = *root,
                                         .rights = readonly ? LANDLOCK_READ : LANDLOCK_TREE};
    rc = confine_privileges();
    int locked = rc ? rc : landlock_confine(&inside, 1, false);
    if (locked < 0)
        return error_set(err, -locked, "%s: cannot be confined to it: %s", path, strerror(-locked));
    if (!locked && !mounts && !whole)
        return error_set(err, EPERM,
                         "%s: this host has neither landlock nor namespaces for users, one of "
                         "which must keep guests inside",
                         path);
    return 0;
}

int jail_calls(struct error *err)
{
    unsigned count;
    int rc = calls_confine(CALLS_FS, true, &count, err);
    return rc == -ENOSYS ? 0 : rc;
}
