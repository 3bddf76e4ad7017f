#include "cli/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGUMENTS 16
#define MAP_MAX 4000 /* the kernel takes less than a page */

/* ---- the maps of root ---- */

/* What a namespace has at all: each line of its map is "INSIDE OUTSIDE COUNT". */
static int map_read(const char *path, char map[MAP_MAX])
{
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    unsigned long inside, outside, count;
    size_t n = 0;
    while (n < MAP_MAX - 100 && fscanf(f, "%lu %lu %lu", &inside, &outside, &count) == 3)
        n += (size_t)snprintf(map + n, MAP_MAX - n, "%lu %lu %lu\n", inside, inside, count);
    fclose(f);
    return n ? 0 : -EINVAL;
}

/* Gives the namespace of process `pid` the users (or groups) that this one has. */
static int map_copy(pid_t pid, const char *name)
{
    char path[64], map[MAP_MAX];
    snprintf(path, sizeof path, "/proc/self/%s", name);
    int rc = map_read(path, map);
    if (rc)
        return rc;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = write(fd, map, strlen(map)) == (ssize_t)strlen(map) ? 0 : -errno;
    close(fd);
    return rc;
}

/* ---- the child ---- */

static _Noreturn void child_exec(const char *const argv[])
{
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "guise: %s: cannot be run: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int child_say(int fd, int rc)
{
    return write(fd, &rc, sizeof rc) == sizeof rc ? 0 : -EPIPE;
}

/* Makes the namespaces, says so, and goes on when it is told that there are users in it. */
static _Noreturn void child_root(int channel, const char *const argv[])
{
    int rc = unshare(CLONE_NEWUSER | CLONE_NEWNS) ? -errno : 0;
    if (child_say(channel, rc) || rc || read(channel, &rc, sizeof rc) != sizeof rc || rc)
        _exit(127);
    close(channel);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        fprintf(stderr, "guise: a namespace for mounts: %s\n", strerror(errno));
        _exit(127);
    }
    child_exec(argv);
}

/* unshare(1) does all of it for others than root, by newuidmap. */
static _Noreturn void child_user(const char *const argv[])
{
    static const char *const unshare_argv[] = {"unshare",    "--user",  "--map-root-user",
                                               "--map-auto", "--mount", "--"};
    const char *all[MAX_ARGUMENTS + 1] = {NULL};
    size_t n = sizeof unshare_argv / sizeof unshare_argv[0];
    memcpy(all, unshare_argv, sizeof unshare_argv);
    for (size_t i = 0; argv[i] && n < MAX_ARGUMENTS; i++)
        all[n++] = argv[i];
    child_exec(all);
}

/* ---- the parent ---- */

static int parent_map(int channel, pid_t pid, struct error *err)
{
    int rc;
    if (read(channel, &rc, sizeof rc) != sizeof rc)
        rc = -EPIPE;
    if (rc)
        return error_set(err, -rc, "no user namespace can be made: %s", strerror(-rc));
    rc = map_copy(pid, "uid_map");
    rc = rc ? rc : map_copy(pid, "gid_map");
    if (!rc && child_say(channel, 0))
        rc = -EPIPE;
    return rc ? error_set(err, -rc, "a user namespace cannot be given users: %s", strerror(-rc))
              : 0;
}

static int parent_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int userns_run(const char *const argv[], struct error *err)
{
    bool root = !geteuid();
    int channel[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel))
        return error_set(err, errno, "socketpair: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        return error_set(err, errno, "fork: %s", strerror(errno));
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        close(channel[0]);
        if (root)
            child_root(channel[1], argv);
        child_user(argv);
    }
    close(channel[1]);
    int rc = root ? parent_map(channel[0], pid, err) : 0;
    close(channel[0]); /* a child that waits ends */
    int code = parent_wait(pid);
    return rc ? rc : code;
}
