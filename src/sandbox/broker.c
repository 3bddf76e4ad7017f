#include "sandbox/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct broker {
    pthread_mutex_t lock; /* one call at a time */
    int fd;
};

struct request {
    unsigned job, arg;
};

union control {
    struct cmsghdr align;
    char data[CMSG_SPACE(sizeof(int))];
};

/* ---- messages ---- */

static void broker_reply(int socket, int result, int fd)
{
    union control control = {.data = {0}};
    struct iovec iov = {&result, sizeof result};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        *c = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    (void)!sendmsg(socket, &msg, MSG_NOSIGNAL);
}

static int broker_answer(int socket, int *fd)
{
    union control control;
    int result;
    struct iovec iov = {&result, sizeof result};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != sizeof result)
        return -EPIPE;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return result;
}

/* ---- the process ---- */

static void broker_serve(int socket, const struct broker_job *jobs, unsigned count)
{
    struct request r;
    for (;;) {
        ssize_t n = recv(socket, &r, sizeof r, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != sizeof r || r.job >= count || !jobs[r.job].run)
            break;
        int fd = -1;
        int result = jobs[r.job].run(jobs[r.job].ctx, r.arg, &fd);
        broker_reply(socket, result, fd);
        if (fd >= 0)
            close(fd);
    }
    for (unsigned i = 0; i < count; i++)
        if (jobs[i].end)
            jobs[i].end(jobs[i].ctx);
}

/*
 * Its own session: what is typed at the terminal is not for it. It keeps no file of the other's,
 * and no signal ends it before that does: all are blocked.
 */
static void broker_main(int socket, const struct broker_job *jobs, unsigned count)
{
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    int own = fcntl(socket, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (own >= 0) {
        dup3(own, STDERR_FILENO + 1, O_CLOEXEC);
        close_range(STDERR_FILENO + 2, ~0u, 0);
        broker_serve(STDERR_FILENO + 1, jobs, count);
    }
    _exit(0);
}

struct broker *broker_new(const struct broker_job *jobs, unsigned count, struct error *err)
{
    int pair[2] = {-1, -1};
    struct broker *b = calloc(1, sizeof *b);
    if (!b || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        error_set(err, b ? errno : ENOMEM, "cannot make a broker: %s",
                  strerror(b ? errno : ENOMEM));
        free(b);
        return NULL;
    }
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (!pid) {
        close(pair[0]);
        broker_main(pair[1], jobs, count);
    }
    int code = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        free(b);
        error_set(err, code, "cannot make a broker: %s", strerror(code));
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->fd = pair[0];
    return b;
}

void broker_free(struct broker *b)
{
    char byte;
    if (!b)
        return;
    /* It reads the end of what we send, and then there is an end of what it sends. */
    shutdown(b->fd, SHUT_WR);
    while (recv(b->fd, &byte, sizeof byte, 0) > 0)
        ;
    close(b->fd);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int broker_call(struct broker *b, unsigned job, unsigned arg, int *fd)
{
    const struct request r = {job, arg};
    *fd = -1;
    pthread_mutex_lock(&b->lock);
    int rc =
        send(b->fd, &r, sizeof r, MSG_NOSIGNAL) == sizeof r ? broker_answer(b->fd, fd) : -EPIPE;
    pthread_mutex_unlock(&b->lock);
    return rc;
}
