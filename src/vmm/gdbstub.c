#include "vmm/gdbstub.h"

#include "base/loop.h"
#include "vmm/gdb_session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The most that one packet from gdb, or one stop of the target, brings: ack and reply. */
#define GDB_OUT_STEP (GDB_PACKET_SIZE + 16)
#define GDB_OUT_SIZE (4 * GDB_OUT_STEP)
#define GDB_IN_SIZE 4096
#define GDB_RETRY_NS UINT64_C(1000000000)

struct gdbstub {
    struct loop *loop;
    const struct gdb_target_ops *ops;
    void *ctx;
    char *description;
    char *path; /* of the Unix socket that was made */
    unsigned port;
    struct loop_fd listener, conn; /* fd -1: closed */
    struct loop_timer retry;

    struct gdb_session session; /* while conn is open */
    uint8_t in[GDB_IN_SIZE];
    size_t in_len;
    char out[GDB_OUT_SIZE];
    size_t out_len;

    struct loop_job news;
    pthread_mutex_t lock; /* protects what follows */
    struct gdb_stop stops[GDB_MAX_HARTS];
    uint64_t stop_set;
};

/* ---- the connection ---- */

static void gdbstub_disconnect(struct gdbstub *stub)
{
    if (stub->conn.fd < 0)
        return;
    loop_fd_remove(stub->loop, &stub->conn);
    close(stub->conn.fd);
    stub->conn.fd = -1;
    gdb_session_end(&stub->session);
}

static void gdbstub_output(void *ctx, const void *data, size_t len)
{
    struct gdbstub *stub = ctx;
    if (len > GDB_OUT_SIZE - stub->out_len)
        len = GDB_OUT_SIZE - stub->out_len;
    memcpy(stub->out + stub->out_len, data, len);
    stub->out_len += len;
}

static bool gdbstub_has_room(const struct gdbstub *stub)
{
    return stub->out_len + 2 * GDB_OUT_STEP <= GDB_OUT_SIZE;
}

/* Gives the session what the harts have reported. Before each packet: see gdb_session.h. */
static void gdbstub_take_news(struct gdbstub *stub)
{
    struct gdb_stop stops[GDB_MAX_HARTS];
    pthread_mutex_lock(&stub->lock);
    uint64_t set = stub->stop_set;
    stub->stop_set = 0;
    memcpy(stops, stub->stops, sizeof stops);
    pthread_mutex_unlock(&stub->lock);

    for (; set; set &= set - 1) {
        unsigned hart = (unsigned)__builtin_ctzll(set);
        gdb_session_stopped(&stub->session, hart, &stops[hart]);
    }
}

/* Handles what has come as long as there is room for the answers. */
static void gdbstub_process(struct gdbstub *stub)
{
    size_t done = 0;
    gdbstub_take_news(stub);
    while (done < stub->in_len && gdbstub_has_room(stub)) {
        done += gdb_session_input(&stub->session, stub->in + done, stub->in_len - done);
        gdbstub_take_news(stub);
    }
    stub->in_len -= done;
    memmove(stub->in, stub->in + done, stub->in_len);
}

/* False if the other side is gone. */
static bool gdbstub_send(struct gdbstub *stub)
{
    while (stub->out_len) {
        ssize_t n = send(stub->conn.fd, stub->out, stub->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        stub->out_len -= (size_t)n;
        memmove(stub->out, stub->out + n, stub->out_len);
    }
    return true;
}

static bool gdbstub_receive(struct gdbstub *stub)
{
    size_t room = sizeof stub->in - stub->in_len;
    if (!room)
        return true;
    ssize_t n = recv(stub->conn.fd, stub->in + stub->in_len, room, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    stub->in_len += (size_t)n;
    return n > 0;
}

/* Goes on as far as possible without waiting, then says what to wait for. */
static void gdbstub_advance(struct gdbstub *stub)
{
    bool alive;
    do {
        gdbstub_process(stub);
        alive = gdbstub_send(stub);
    } while (alive && stub->in_len && gdbstub_has_room(stub));
    if (!alive || (stub->session.over && !stub->out_len)) {
        gdbstub_disconnect(stub);
        return;
    }
    unsigned events = stub->out_len ? LOOP_OUT : 0;
    if (stub->in_len < sizeof stub->in && !stub->session.over)
        events |= LOOP_IN;
    if (loop_fd_watch(stub->loop, &stub->conn, events))
        gdbstub_disconnect(stub);
}

static void gdbstub_conn_ready(void *ctx, unsigned events)
{
    struct gdbstub *stub = ctx;
    if ((events & LOOP_IN) && !gdbstub_receive(stub)) {
        gdbstub_disconnect(stub);
        return;
    }
    gdbstub_advance(stub);
}

static void gdbstub_news(void *ctx)
{
    struct gdbstub *stub = ctx;
    if (stub->conn.fd >= 0)
        gdbstub_advance(stub);
}

void gdbstub_stopped(struct gdbstub *stub, unsigned hart, const struct gdb_stop *stop)
{
    pthread_mutex_lock(&stub->lock);
    stub->stops[hart] = *stop;
    stub->stop_set |= UINT64_C(1) << hart;
    pthread_mutex_unlock(&stub->lock);
    loop_job_post(stub->loop, &stub->news);
}

void gdbstub_exited(struct gdbstub *stub, unsigned code)
{
    if (stub->conn.fd < 0)
        return;
    gdbstub_take_news(stub);
    gdb_session_exited(&stub->session, code);
    gdbstub_advance(stub);
}

/* ---- accepting ---- */

static void gdbstub_connect(struct gdbstub *stub, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on Unix sockets */
    loop_fd_init(&stub->conn, fd, gdbstub_conn_ready, stub);
    stub->in_len = stub->out_len = 0;
    gdb_session_start(&stub->session, stub->ops, stub->ctx, stub->description, gdbstub_output,
                      stub);
    /* What a hart reported to a debugger before this one. */
    pthread_mutex_lock(&stub->lock);
    stub->stop_set = 0;
    pthread_mutex_unlock(&stub->lock);
    gdbstub_advance(stub);
}

static void gdbstub_listener_ready(void *ctx, unsigned events)
{
    (void)events;
    struct gdbstub *stub = ctx;
    int fd = accept4(stub->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        /* The one who connects waits; the loop must not spin meanwhile. */
        loop_fd_remove(stub->loop, &stub->listener);
        loop_timer_set(stub->loop, &stub->retry, loop_now_ns() + GDB_RETRY_NS);
        return;
    }
    if (fd < 0)
        return;
    if (stub->conn.fd >= 0)
        close(fd); /* one debugger at a time */
    else
        gdbstub_connect(stub, fd);
}

static void gdbstub_retry(void *ctx)
{
    struct gdbstub *stub = ctx;
    loop_fd_watch(stub->loop, &stub->listener, LOOP_IN);
}

/* ---- life ---- */

static int gdbstub_listen_unix(struct gdbstub *stub, const char *path, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof addr.sun_path)
        return error_set(err, EINVAL, "'%s' is no path for a Unix socket: it has 1 to %zu bytes",
                         path, sizeof addr.sun_path - 1);
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    stub->listener.fd = fd;
    /* The mode is given before the name exists, so that nobody can slip in. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&addr, sizeof addr))
        return error_set(err, errno, "%s: cannot make the debugger's socket: %s", path,
                         errno == EADDRINUSE ? "it exists; remove it if nothing uses it"
                                             : strerror(errno));
    stub->path = strdup(path);
    if (!stub->path) {
        unlink(path);
        return error_set(err, ENOMEM, "%s: out of memory", path);
    }
    if (listen(fd, 1))
        return error_set(err, errno, "%s: cannot listen for a debugger: %s", path, strerror(errno));
    return 0;
}

static int gdbstub_listen_tcp(struct gdbstub *stub, unsigned port, struct error *err)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    stub->listener.fd = fd;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof addr;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 1) ||
        getsockname(fd, (struct sockaddr *)&addr, &len))
        return error_set(err, errno, "port %u: cannot listen for a debugger: %s", port,
                         strerror(errno));
    stub->port = ntohs(addr.sin_port);
    return 0;
}

static int gdbstub_listen(struct gdbstub *stub, const char *where, struct error *err)
{
    if (!strncmp(where, "unix:", 5))
        return gdbstub_listen_unix(stub, where + 5, err);
    size_t digits = strspn(where, "0123456789");
    unsigned long port = digits && digits <= 5 && !where[digits] ? strtoul(where, NULL, 10) : 65536;
    if (port > 65535)
        return error_set(err, EINVAL,
                         "'%s' is no place for a debugger; use a port (0 to 65535) or unix:PATH",
                         where);
    return gdbstub_listen_tcp(stub, (unsigned)port, err);
}

struct gdbstub *gdbstub_new(const char *where, struct loop *loop, const struct gdb_target_ops *ops,
                            void *ctx, struct error *err)
{
    struct gdbstub *stub = calloc(1, sizeof *stub);
    if (!stub) {
        error_set(err, ENOMEM, "debugger: out of memory");
        return NULL;
    }
    stub->loop = loop;
    stub->ops = ops;
    stub->ctx = ctx;
    pthread_mutex_init(&stub->lock, NULL);
    loop_job_init(&stub->news, gdbstub_news, stub);
    loop_timer_init(&stub->retry, gdbstub_retry, stub);
    loop_fd_init(&stub->conn, -1, gdbstub_conn_ready, stub);
    loop_fd_init(&stub->listener, -1, gdbstub_listener_ready, stub);
    stub->description = gdb_describe_target(ops, ctx);
    int rc = stub->description ? gdbstub_listen(stub, where, err)
                               : error_set(err, ENOMEM, "debugger: out of memory");
    if (!rc) {
        rc = loop_fd_watch(loop, &stub->listener, LOOP_IN);
        if (rc)
            error_set(err, -rc, "%s: cannot wait for a debugger: %s", where, strerror(-rc));
    }
    if (rc) {
        gdbstub_free(stub);
        return NULL;
    }
    return stub;
}

void gdbstub_free(struct gdbstub *stub)
{
    if (!stub)
        return;
    gdbstub_disconnect(stub);
    loop_fd_remove(stub->loop, &stub->listener);
    loop_timer_cancel(stub->loop, &stub->retry);
    loop_job_cancel(stub->loop, &stub->news);
    if (stub->listener.fd >= 0)
        close(stub->listener.fd);
    if (stub->path)
        unlink(stub->path);
    pthread_mutex_destroy(&stub->lock);
    free(stub->path);
    free(stub->description);
    free(stub);
}

char *gdbstub_take_path(struct gdbstub *stub)
{
    char *path = stub->path;
    stub->path = NULL;
    return path;
}

unsigned gdbstub_port(const struct gdbstub *stub)
{
    return stub->port;
}

bool gdbstub_attached(const struct gdbstub *stub)
{
    return stub->conn.fd >= 0;
}
