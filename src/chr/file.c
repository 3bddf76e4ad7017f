#include "chr/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int chr_file_open(struct chr *c, const char *path, struct error *err)
{
    /* O_NONBLOCK: neither a FIFO that nobody reads nor a slow terminal may stop the loop. */
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    c->out_fd = open(path, flags | O_EXCL, 0666);
    c->created = c->out_fd >= 0;
    if (c->out_fd < 0 && errno == EEXIST)
        c->out_fd = open(path, flags, 0666);
    if (c->out_fd < 0)
        return error_set(err, errno, "%s: cannot write console output there: %s", path,
                         errno == ENXIO ? "nobody reads from it" : strerror(errno));
    c->own_out = true;
    c->path = strdup(path);
    if (c->path)
        return 0;
    if (c->created)
        unlink(path);
    return error_set(err, ENOMEM, "%s: out of memory", path);
}

static void chr_file_close(struct chr *c)
{
    if (c->path && c->created && c->abandoned)
        unlink(c->path);
}

const struct chr_ops chr_file_ops = {
    .name = "file",
    .takes_arg = true,
    .size = sizeof(struct chr),
    .open = chr_file_open,
    .close = chr_file_close,
};
