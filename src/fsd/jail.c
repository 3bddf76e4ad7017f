#include "fsd/jail.h"

#include "sandbox/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

/* ---- landlock ---- */

#define LANDLOCK_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* Of later versions than the headers. */
#define LANDLOCK_REFER (UINT64_C(1) << 13)
#define LANDLOCK_TRUNCATE (UINT64_C(1) << 14)
#define LANDLOCK_IOCTL_DEV (UINT64_C(1) << 15)

static uint64_t landlock_known(long version)
{
    uint64_t known = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    known |= version >= 2 ? LANDLOCK_REFER : 0;
    known |= version >= 3 ? LANDLOCK_TRUNCATE : 0;
    return known | (version >= 5 ? LANDLOCK_IOCTL_DEV : 0);
}

/* 1: it holds, 0: this kernel has none, or -errno. */
static int landlock(int root, bool readonly)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return 0;
    struct landlock_ruleset_attr attr = {.handled_access_fs = landlock_known(version)};
    struct landlock_path_beneath_attr rule = {.parent_fd = root};
    rule.allowed_access = attr.handled_access_fs &
                          ~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_IOCTL_DEV);
    if (readonly)
        rule.allowed_access = LANDLOCK_READ;
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0)
        return -errno;
    int rc = 1;
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ||
        syscall(SYS_landlock_restrict_self, rules, 0))
        rc = -errno;
    close(rules);
    return rc;
}

/* ---- both ---- */

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &head, none) ? -errno : 0;
}

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
    rc = drop_capabilities();
    if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        rc = -errno;
    int locked = rc ? rc : landlock(*root, readonly);
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
