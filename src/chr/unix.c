#include "base/local.h"
#include "chr/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A client that has shut down one direction may still want the other, and of one whose input waits
 * nothing is read: whether it has gone is looked at this often.
 */
#define CHR_UNIX_LOOK_NS UINT64_C(20000000)

struct chr_unix {
    struct chr chr;
    struct stat name; /* what is at the path */
    struct loop_fd listener;
    struct loop_timer look;
};

static struct chr_unix *chr_unix_of(struct chr *c)
{
    return (struct chr_unix *)(void *)c;
}

static void chr_unix_come(void *ctx, unsigned events)
{
    struct chr_unix *u = ctx;
    (void)events;
    int fd = accept4(u->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* A second number, because the loop knows a descriptor by its number. */
    int out = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    loop_fd_remove(u->chr.loop, &u->listener);
    if (out >= 0) {
        chr_set_client(&u->chr, fd, out);
        return;
    }
    if (fd >= 0)
        close(fd);
    /* Without a rest the loop would do nothing else while there are no descriptors left. */
    loop_timer_set(u->chr.loop, &u->look, loop_now_ns() + CHR_UNIX_LOOK_NS);
}

static void chr_unix_leave(struct chr_unix *u)
{
    loop_timer_cancel(u->chr.loop, &u->look);
    chr_set_client(&u->chr, -1, -1);
    loop_fd_watch(u->chr.loop, &u->listener, LOOP_IN);
}

static void chr_unix_look(void *ctx)
{
    struct chr_unix *u = ctx;
    struct chr *c = &u->chr;
    struct pollfd p = {.fd = c->in_fd};
    if (c->in_fd < 0) {
        loop_fd_watch(c->loop, &u->listener, LOOP_IN);
        return;
    }
    bool gone = poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
    pthread_mutex_lock(&c->lock);
    size_t waiting = c->in.len;
    pthread_mutex_unlock(&c->lock);
    if (gone && (c->deaf || (c->in_over && !waiting)))
        chr_unix_leave(u);
    else if (c->in_over || waiting)
        loop_timer_set(c->loop, &u->look, loop_now_ns() + CHR_UNIX_LOOK_NS);
}

static void chr_unix_hangup(struct chr *c)
{
    c->in_over = true;
    chr_unix_look(chr_unix_of(c));
}

static void chr_unix_stuck(struct chr *c)
{
    struct chr_unix *u = chr_unix_of(c);
    if (!u->look.armed)
        loop_timer_set(c->loop, &u->look, loop_now_ns() + CHR_UNIX_LOOK_NS);
}

static void chr_unix_remove(struct chr *c)
{
    if (c->path)
        local_release(c->path, &chr_unix_of(c)->name);
}

static int chr_unix_open(struct chr *c, const char *path, struct error *err)
{
    struct chr_unix *u = chr_unix_of(c);
    loop_timer_init(&u->look, chr_unix_look, u);
    int fd = local_listen(path, &u->name, err);
    loop_fd_init(&u->listener, fd, chr_unix_come, u);
    if (fd < 0)
        return fd;
    c->path = strdup(path);
    if (!c->path) {
        local_release(path, &u->name);
        return error_set(err, ENOMEM, "%s: out of memory", path);
    }
    c->is_socket = true;
    c->away = true;
    int rc = loop_fd_watch(c->loop, &u->listener, LOOP_IN);
    if (!rc)
        return 0;
    chr_unix_remove(c);
    return error_set(err, -rc, "%s: cannot wait for clients: %s", path, strerror(-rc));
}

static void chr_unix_close(struct chr *c)
{
    struct chr_unix *u = chr_unix_of(c);
    loop_timer_cancel(c->loop, &u->look);
    loop_fd_remove(c->loop, &u->listener);
    if (u->listener.fd >= 0)
        close(u->listener.fd);
}

const struct chr_ops chr_unix_ops = {
    .name = "unix",
    .takes_arg = true,
    .size = sizeof(struct chr_unix),
    .open = chr_unix_open,
    .hangup = chr_unix_hangup,
    .stuck = chr_unix_stuck,
    .remove = chr_unix_remove,
    .close = chr_unix_close,
};
