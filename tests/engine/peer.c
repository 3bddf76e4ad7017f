#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Exactly what the table has, so that both agree on what is illegal. */
#define PEER_CPU                                                                            \
    "rv64,v=off,h=off,zba=on,zbb=on,zbc=on,zbs=on,zicond=on,zicbom=on,zicboz=on,zicbop=on," \
    "zihintntl=on,zihintpause=on,zawrs=on,zfa=on,zfhmin=on,zfh=on,zca=on,zcb=on,zcd=on,zacas=on"
#define PEER_SECONDS 60
#define PEER_VERSION 10

const char *peer_find(const char *path, char *why, size_t size)
{
    const char *peer = getenv("GUISE_QEMU_RISCV64");
    if (!peer || !*peer)
        peer = path && !access(path, X_OK) ? path : "qemu-riscv64";
    char command[4096], line[256] = "";
    snprintf(command, sizeof command, "'%s' --version 2>/dev/null", peer);
    FILE *f = popen(command, "r");
    if (!f || !fgets(line, sizeof line, f))
        line[0] = 0;
    if (f)
        pclose(f);
    unsigned version = 0;
    if (sscanf(line, "qemu-riscv64 version %u", &version) == 1 && version >= PEER_VERSION)
        return peer;
    snprintf(why, size,
             "skipped: no qemu-riscv64 of QEMU %d or later (found: %u); run tools/guest qemu or "
             "set GUISE_QEMU_RISCV64",
             PEER_VERSION, version);
    return NULL;
}

/* ---- a child with its standard output, or its log, in a pipe ---- */

struct child {
    pid_t pid;
    int fd;
    char path[64]; /* of the program's file */
};

static bool write_program(struct child *c, const struct prog *p)
{
    uint8_t *file;
    size_t len = prog_elf(p, &file);
    snprintf(c->path, sizeof c->path, "/tmp/guise-diff-XXXXXX");
    int fd = mkostemp(c->path, O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, file, len) == (ssize_t)len && !fchmod(fd, 0700);
    if (fd >= 0)
        close(fd);
    free(file);
    return ok;
}

/* In the child. The log goes to file 2, the program's own output is then of no interest. */
static void exec_peer(const char *peer, const char *path, int out, bool trace)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(trace ? null : out, 1);
    dup2(trace ? out : null, 2);
    if (trace)
        execlp(peer, peer, "-cpu", PEER_CPU, "-one-insn-per-tb", "-d", "cpu,fpu,nochain", path,
               (char *)NULL);
    else
        execlp(peer, peer, "-cpu", PEER_CPU, path, (char *)NULL);
    _exit(127);
}

static bool child_start(struct child *c, const char *peer, const struct prog *p, bool trace)
{
    int ends[2];
    if (!write_program(c, p) || pipe2(ends, O_CLOEXEC))
        return false;
    fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
    fflush(stdout);
    c->fd = ends[0];
    c->pid = fork();
    if (!c->pid)
        exec_peer(peer, c->path, ends[1], trace);
    close(ends[1]);
    return c->pid > 0;
}

static int child_end(struct child *c)
{
    int status = -1;
    close(c->fd);
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, &status, 0);
    }
    unlink(c->path);
    return status;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct peer_result peer_run(const char *peer, const struct prog *p)
{
    struct peer_result r = {.status = -1};
    struct child c = {.pid = -1, .fd = -1};
    if (!child_start(&c, peer, p, false)) {
        child_end(&c);
        return r;
    }
    size_t room = p->data_len + 1;
    r.output = malloc(room);
    double end = seconds() + PEER_SECONDS;
    while (r.output && r.output_len < room && seconds() < end) {
        struct pollfd wait = {.fd = c.fd, .events = POLLIN};
        if (poll(&wait, 1, 1000) <= 0)
            continue;
        ssize_t got = read(c.fd, r.output + r.output_len, room - r.output_len);
        if (got <= 0)
            break;
        r.output_len += (size_t)got;
    }
    if (seconds() < end && waitpid(c.pid, &r.status, 0) == c.pid)
        c.pid = -1;
    int status = child_end(&c);
    if (c.pid > 0)
        r.status = status;
    return r;
}

/* ---- tracing ---- */

/* One line of the log; true when it was the last of a state. */
static bool trace_line(const char *line, struct peer_state *s)
{
    unsigned number;
    unsigned long value;
    int used;
    if (sscanf(line, " pc %lx", &value) == 1) {
        s->pc = value;
        return false;
    }
    if (sscanf(line, " fcsr %lx", &value) == 1) {
        s->fcsr = value;
        return false;
    }
    char kind;
    bool last = false;
    while (sscanf(line, " %c%u/%*s %lx%n", &kind, &number, &value, &used) == 3 && number < 32) {
        if (kind == 'x')
            s->x[number] = value;
        else if (kind == 'f')
            s->f[number] = value;
        last = kind == 'f' && number == 31;
        line += used;
    }
    return last;
}

void peer_trace(const char *peer, const struct prog *p,
                bool (*each)(void *ctx, const struct peer_state *s), void *ctx)
{
    struct child c = {.pid = -1, .fd = -1};
    FILE *log = child_start(&c, peer, p, true) ? fdopen(dup(c.fd), "r") : NULL;
    struct peer_state s = {0};
    char line[512];
    while (log && fgets(line, sizeof line, log))
        if (trace_line(line, &s) && !each(ctx, &s))
            break;
    if (log)
        fclose(log);
    child_end(&c);
}
