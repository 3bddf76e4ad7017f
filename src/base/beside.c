#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path of the program. 0 or -errno; -ENAMETOOLONG if there is no room for it. */
static int program_beside(const char *variable, const char *name, char *path, size_t size)
{
    const char *given = getenv(variable);
    if (given)
        return (size_t)snprintf(path, size, "%s", given) < size ? 0 : -ENAMETOOLONG;
    ssize_t len = readlink("/proc/self/exe", path, size);
    if (len < 0 || (size_t)len >= size)
        return len < 0 ? -errno : -ENAMETOOLONG;
    path[len] = 0;
    char *slash = strrchr(path, '/');
    size_t room = size - (size_t)(slash + 1 - path);
    return (size_t)snprintf(slash + 1, room, "%s", name) < room ? 0 : -ENAMETOOLONG;
}

int program_start(const char *variable, const char *const argv[], const int fds[], unsigned count,
                  const char *hint, pid_t *pid, struct error *err)
{
    char path[4096];
    int rc = program_beside(variable, argv[0], path, sizeof path);
    if (rc)
        return error_set(err, -rc, "cannot find %s: %s", argv[0], strerror(-rc));
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, STDOUT_FILENO);
    for (unsigned i = 0; i < count; i++)
        posix_spawn_file_actions_adddup2(&files, fds[i], 3 + (int)i);
    sigset_t none; /* signals are all blocked in a broker */
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn(pid, path, &files, &attr, (char **)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    if (!rc)
        return 0;
    *pid = 0;
    return error_set(err, rc, "%s: %s; %s", path, strerror(rc), hint);
}
