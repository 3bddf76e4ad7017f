#include "sandbox/namespaces.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PLAIN (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Over any directory that there is; it is only a place to change the root to. */
static int mount_empty(void)
{
    static const char *const places[] = {"/proc", "/tmp", "/dev", "/sys"};
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        if (!mount("none", places[i], "tmpfs", PLAIN, "size=4k,nr_inodes=1,mode=555"))
            return chdir(places[i]) ? -errno : 0;
    return -errno;
}

/* The old root is put over the new one, and taken away. */
static int empty_root(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return -errno;
    int rc = mount_empty();
    if (rc)
        return rc;
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return -errno;
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | PLAIN, NULL) ? -errno : 0;
}

int namespaces_enter(bool user)
{
    const int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    if (unshare(spaces | (user ? CLONE_NEWUSER : 0)))
        return -errno;
    return empty_root();
}
