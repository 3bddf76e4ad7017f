#include "base/beside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int program_beside(const char *variable, const char *name, char *path, size_t size)
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
