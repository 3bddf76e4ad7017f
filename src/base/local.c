#include "base/local.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

static int local_address(const char *path, struct sockaddr_un *address)
{
    size_t len = strlen(path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len > LOCAL_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(address->sun_path, path, len);
    return 0;
}

static int local_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

int local_connect(const char *path)
{
    struct sockaddr_un address;
    int rc = local_address(path, &address);
    int fd = rc ? rc : local_socket();
    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address)) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}

/* What a machine that was killed has left at the path goes; what somebody listens at stays. */
static int local_clear(const char *path, struct error *err)
{
    struct stat st;
    int fd = local_connect(path);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || fd == -EAGAIN)
        return error_set(err, EADDRINUSE, "%s: somebody listens at this socket", path);
    if (fd == -ECONNREFUSED && !lstat(path, &st) && S_ISSOCK(st.st_mode))
        unlink(path);
    return 0;
}

int local_listen(const char *path, struct stat *what, struct error *err)
{
    struct sockaddr_un address;
    if (local_address(path, &address))
        return error_set(err, ENAMETOOLONG, "%s: the name of a Unix socket has up to %zu bytes",
                         path, LOCAL_PATH_MAX);
    int rc = local_clear(path, err);
    if (rc)
        return rc;
    int fd = local_socket();
    /* Before the socket has a name: nobody else may come in between. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)&address, sizeof address) ||
        listen(fd, BACKLOG) || lstat(path, what)) {
        int code = fd < 0 ? -fd : errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "%s: cannot make this socket: %s", path, strerror(code));
    }
    return fd;
}

void local_release(const char *path, const struct stat *what)
{
    struct stat st;
    if (!lstat(path, &st) && st.st_dev == what->st_dev && st.st_ino == what->st_ino)
        unlink(path);
}
