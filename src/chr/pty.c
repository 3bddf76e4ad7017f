#include "chr/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/*
 * The kernel tells that the last user of a pseudo-terminal has closed it, but not that a first one
 * has opened it: while nobody is there, look this often.
 */
#define CHR_PTY_LOOK_NS UINT64_C(200000000)

struct chr_pty {
    struct chr chr;
    struct loop_timer look;
};

static void chr_pty_look(void *ctx)
{
    struct chr_pty *pty = ctx;
    struct pollfd p = {.fd = pty->chr.in_fd};
    if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP)) {
        loop_timer_set(pty->chr.loop, &pty->look, loop_now_ns() + CHR_PTY_LOOK_NS);
        return;
    }
    chr_set_overwrite(&pty->chr, false);
    pty->chr.in_over = false;
    chr_pump(&pty->chr);
}

static void chr_pty_hangup(struct chr *c)
{
    struct chr_pty *pty = (struct chr_pty *)(void *)c;
    c->in_over = true;
    chr_set_overwrite(c, true);
    loop_timer_set(c->loop, &pty->look, loop_now_ns() + CHR_PTY_LOOK_NS);
}

static int chr_pty_fail(struct error *err)
{
    return error_set(err, errno, "cannot make a pseudo-terminal: %s", strerror(errno));
}

static int chr_pty_open(struct chr *c, const char *arg, struct error *err)
{
    (void)arg;
    struct chr_pty *pty = (struct chr_pty *)(void *)c;
    loop_timer_init(&pty->look, chr_pty_look, pty);
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return chr_pty_fail(err);
    c->in_fd = fd;
    c->own_in = true;
    /* A second number, because the loop knows a descriptor by its number. */
    c->out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (c->out_fd < 0)
        return chr_pty_fail(err);
    c->own_out = true;
    char name[64];
    struct termios tio;
    if (grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof name) || tcgetattr(fd, &tio))
        return chr_pty_fail(err);
    /* Raw from the start: an echo would come back to the guest as its own output. */
    cfmakeraw(&tio);
    c->path = strdup(name);
    /* Opened and closed once, the master reports a hang-up until somebody opens it. */
    int user = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (!c->path || tcsetattr(fd, TCSANOW, &tio) || user < 0)
        return chr_pty_fail(err);
    close(user);
    chr_pty_hangup(c);
    return 0;
}

static void chr_pty_close(struct chr *c)
{
    struct chr_pty *pty = (struct chr_pty *)(void *)c;
    loop_timer_cancel(c->loop, &pty->look);
}

const struct chr_ops chr_pty_ops = {
    .name = "pty",
    .size = sizeof(struct chr_pty),
    .open = chr_pty_open,
    .hangup = chr_pty_hangup,
    .close = chr_pty_close,
};
