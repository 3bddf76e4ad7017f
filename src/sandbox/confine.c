#include "sandbox/confine.h"

#include "sandbox/namespaces.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FILES 1024u /* of a process whose connections are few */
#define MAX_HEAPS 8

/* ---- what it was started with ---- */

/* Others than this program's own have no FD_CLOEXEC, or they would not be here. */
static void close_inherited(void)
{
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        int fd = atoi(e->d_name);
        int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : -1;
        if (flags >= 0 && !(flags & FD_CLOEXEC))
            close(fd);
    }
    if (dir)
        closedir(dir);
}

static unsigned thread_count(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; dir && (e = readdir(dir));)
        count += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

/* ---- privileges ---- */

static void become_user(const struct confine *how)
{
    if (geteuid())
        return;
    /* In a user namespace there may be no such user: then it is root of that only. */
    if (!setgroups(0, NULL) && !setresgid(how->group, how->group, how->group))
        (void)!setresuid(how->user, how->user, how->user);
}

int confine_privileges(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    bool ok = !syscall(SYS_capset, &head, none) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return ok ? 0 : -errno;
}

/* A root that must not change its user's namespace tries without; a user has to have one. */
static bool isolate(const struct confine *how)
{
    if (!geteuid() && !namespaces_enter(false))
        return true;
    become_user(how);
    return !namespaces_enter(true);
}

/* A core file would have the guest's memory; other processes of the user cannot look in either. */
static int give_up_privileges(const struct confine *how, struct confine_report *report)
{
    const struct rlimit no_core = {0, 0};
    struct rlimit files;
    setrlimit(RLIMIT_CORE, &no_core);
    if (!how->net && !getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_cur > MAX_FILES ? MAX_FILES : files.rlim_cur;
        files.rlim_max = files.rlim_cur;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Before a namespace of its own, in which users have no names. */
    report->user = geteuid() ? geteuid() : how->user;
    report->namespaces = how->isolate && isolate(how);
    become_user(how);
    report->root = !geteuid();
    report->user = report->root ? 0 : report->user;
    int rc = confine_privileges();
    return rc ? rc : prctl(PR_SET_DUMPABLE, 0) ? -errno : 0;
}

static int keep_to_itself(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* glibc looks in /sys how many processors there are before it makes its ninth heap. */
static void settle_libc(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, MAX_HEAPS);
#endif
}

int confine(const struct confine *how, struct confine_report *report, struct error *err)
{
    *report = (struct confine_report){0};
    unsigned threads = thread_count();
    if (threads > 1)
        return error_set(err, EBUSY, "cannot confine a process with %u threads", threads);
    settle_libc();
    if (!how->keep)
        close_inherited();
    int rc = how->quiet ? 0 : violation_init(err);
    if (rc)
        return rc;
    rc = how->keep ? keep_to_itself() : give_up_privileges(how, report);
    if (rc)
        return error_set(err, -rc, "cannot give up privileges: %s", strerror(-rc));
    report->landlock = landlock_confine(how->paths, how->path_count, how->net);
    if (report->landlock < 0)
        return error_set(err, -report->landlock, "cannot give up files (landlock: %s)",
                         strerror(-report->landlock));
    return calls_confine(how->calls, how->quiet, &report->calls, err);
}
