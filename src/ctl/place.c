#include "ctl/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define SUFFIX ".sock"

bool ctl_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len && len <= CTL_NAME_MAX && strspn(name, LETTERS) &&
           strspn(name, LETTERS "._-") == len;
}

bool ctl_name_of(const char *file, char name[CTL_NAME_MAX + 1])
{
    size_t len = strlen(file), suffix = strlen(SUFFIX);
    if (len <= suffix || len - suffix > CTL_NAME_MAX || strcmp(file + len - suffix, SUFFIX))
        return false;
    snprintf(name, CTL_NAME_MAX + 1, "%.*s", (int)(len - suffix), file);
    return ctl_name_valid(name);
}

static int check_owner(const char *dir, struct error *err)
{
    struct stat st;
    if (lstat(dir, &st))
        return error_set(err, errno, "%s: cannot be looked at: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(err, EPERM,
                         "%s: must be a directory that only its owner can write, and yours", dir);
    return 0;
}

int ctl_directory(char dir[CTL_PATH_SIZE], bool make, struct error *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    if ((!base || !*base) && geteuid())
        return error_set(err, ENOENT,
                         "there is no place for control sockets: XDG_RUNTIME_DIR is not set");
    base = base && *base ? base : "/run";
    if ((size_t)snprintf(dir, CTL_PATH_SIZE, "%s/guise", base) >= CTL_PATH_SIZE)
        return error_set(err, ENAMETOOLONG, "%s/guise: too long for control sockets", base);
    if (!make)
        return 0;
    if (mkdir(dir, 0700) && errno != EEXIST)
        return error_set(err, errno, "%s: cannot be made, for control sockets: %s", dir,
                         strerror(errno));
    return check_owner(dir, err);
}

int ctl_path(const char *name, char path[CTL_PATH_SIZE], struct error *err)
{
    char dir[CTL_PATH_SIZE];
    int n;
    if (strchr(name, '/')) {
        n = snprintf(path, CTL_PATH_SIZE, "%s", name);
    } else {
        if (!ctl_name_valid(name))
            return error_set(err, EINVAL,
                             "'%.80s' is no name for a machine: it has up to %d letters, digits, "
                             "and . _ - after the first",
                             name, CTL_NAME_MAX);
        int rc = ctl_directory(dir, false, err);
        if (rc)
            return rc;
        n = snprintf(path, CTL_PATH_SIZE, "%s/%s%s", dir, name, SUFFIX);
    }
    return (size_t)n < CTL_PATH_SIZE ? 0
                                     : error_set(err, ENAMETOOLONG,
                                                 "%.120s: the path of a socket has at most %zu "
                                                 "bytes",
                                                 name, CTL_PATH_SIZE - 1);
}

/* ---- names in use ---- */

int ctl_lock(const char *path, struct error *err)
{
    char dir[CTL_PATH_SIZE];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && !flock(fd, LOCK_EX))
        return fd;
    int code = errno;
    if (fd >= 0)
        close(fd);
    return error_set(err, code, "%s: the control socket's directory cannot be used: %s", path,
                     strerror(code));
}

/* 0: somebody listens there; or an errno value. */
static int try_connect(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int code = fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof addr) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return code == EAGAIN ? 0 : code; /* with more clients than it has taken yet */
}

int ctl_free_path(const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st))
        return 0;
    int code = S_ISSOCK(st.st_mode) ? try_connect(path) : EEXIST;
    if (!code)
        return error_set(err, EADDRINUSE,
                         "%s: a machine of this name is running; give this one another --name",
                         path);
    if (code == ECONNREFUSED && !unlink(path))
        return 0;
    return error_set(err, code, "%s: is in the way of the control socket; remove it", path);
}

void ctl_forget(const char *path)
{
    int dir = ctl_lock(path, NULL);
    if (dir < 0)
        return;
    ctl_free_path(path, NULL);
    close(dir);
}
