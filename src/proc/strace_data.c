/* Arguments that are addresses of something that is shown instead. */
#include "base/bits.h"
#include "proc/guest_abi.h"
#include "proc/strace_impl.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define STRACE_BYTES 32 /* of a buffer */
#define STRACE_ITEMS 8  /* of an array */

static void strace_address(struct strace_line *l, uint64_t at)
{
    if (at)
        strace_put(l, "%#" PRIx64, at);
    else
        strace_put(l, "NULL");
}

/* ---- bytes ---- */

static void strace_byte(struct strace_line *l, unsigned char c, bool digit_follows)
{
    static const char escapes[][2] = {{'\n', 'n'}, {'\t', 't'}, {'\r', 'r'}, {'\v', 'v'},
                                      {'\f', 'f'}, {'"', '"'},  {'\\', '\\'}};
    for (unsigned i = 0; i < ARRAY_SIZE(escapes); i++) {
        if (escapes[i][0] == (char)c) {
            strace_put(l, "\\%c", escapes[i][1]);
            return;
        }
    }
    if (c >= ' ' && c < 0x7f)
        strace_put(l, "%c", c);
    else
        strace_put(l, digit_follows ? "\\%03o" : "\\%o", c);
}

void strace_bytes(struct strace_line *l, uint64_t at, uint64_t size, size_t max)
{
    char text[256];
    size_t n = size < max ? size : max;
    n = n < sizeof text ? n : sizeof text;
    if (!guest_read(text, at, n)) {
        strace_address(l, at);
        return;
    }
    strace_put(l, "\"");
    for (size_t i = 0; i < n; i++)
        strace_byte(l, (unsigned char)text[i],
                    i + 1 < n && text[i + 1] >= '0' && text[i + 1] <= '9');
    strace_put(l, n < size ? "\"..." : "\"");
}

void strace_string(struct strace_line *l, uint64_t at)
{
    ptrdiff_t len = at ? guarded_strlen((const char *)(uintptr_t)at, 4096) : -1;
    if (len < 0)
        strace_address(l, at);
    else
        strace_bytes(l, at, (uint64_t)len, 256);
}

static void strace_argv(struct strace_line *l, uint64_t at)
{
    uint64_t arg;
    for (unsigned i = 0; guest_read(&arg, at + i * sizeof arg, sizeof arg) && arg; i++) {
        strace_put(l, i ? ", " : "[");
        if (i == STRACE_ITEMS * 2) {
            strace_put(l, "...");
            break;
        }
        strace_string(l, arg);
    }
    strace_put(l, "]");
}

static void strace_iovec(struct strace_line *l, uint64_t at, uint64_t count)
{
    struct iovec v;
    strace_put(l, "[");
    for (uint64_t i = 0; i < count; i++) {
        strace_put(l, i ? ", " : "");
        if (i == STRACE_ITEMS || !guest_read(&v, at + i * sizeof v, sizeof v)) {
            strace_put(l, "...");
            break;
        }
        strace_put(l, "{iov_base=");
        strace_bytes(l, guest_address(v.iov_base), v.iov_len, STRACE_BYTES);
        strace_put(l, ", iov_len=%zu}", v.iov_len);
    }
    strace_put(l, "]");
}

/* ---- structures; false: not readable ---- */

static bool strace_fds(struct strace_line *l, uint64_t at)
{
    int fd[2];
    if (!guest_read(fd, at, sizeof fd))
        return false;
    strace_put(l, "[%d, %d]", fd[0], fd[1]);
    return true;
}

static bool strace_time(struct strace_line *l, uint64_t at)
{
    struct timespec ts;
    if (!guest_read(&ts, at, sizeof ts))
        return false;
    strace_put(l, "{tv_sec=%ld, tv_nsec=%ld}", (long)ts.tv_sec, ts.tv_nsec);
    return true;
}

static bool strace_stat(struct strace_line *l, uint64_t at)
{
    static const struct {
        uint32_t mode;
        const char *name;
    } kinds[] = {{S_IFREG, "S_IFREG"},  {S_IFDIR, "S_IFDIR"}, {S_IFLNK, "S_IFLNK"},
                 {S_IFCHR, "S_IFCHR"},  {S_IFBLK, "S_IFBLK"}, {S_IFIFO, "S_IFIFO"},
                 {S_IFSOCK, "S_IFSOCK"}};
    struct guest_stat s;
    const char *kind = "0";
    if (!guest_read(&s, at, sizeof s))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].mode == (s.mode & S_IFMT))
            kind = kinds[i].name;
    strace_put(l, "{st_mode=%s|%#o, st_size=%" PRId64 ", ...}", kind, s.mode & 07777u, s.size);
    return true;
}

static void strace_poll_events(struct strace_line *l, short events)
{
    static const struct {
        short bit;
        const char *name;
    } bits[] = {{POLLIN, "POLLIN"},      {POLLPRI, "POLLPRI"}, {POLLOUT, "POLLOUT"},
                {POLLERR, "POLLERR"},    {POLLHUP, "POLLHUP"}, {POLLNVAL, "POLLNVAL"},
                {POLLRDHUP, "POLLRDHUP"}};
    bool first = true;
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        if (events & bits[i].bit) {
            strace_put(l, "%s%s", first ? "" : "|", bits[i].name);
            first = false;
        }
    }
    if (first)
        strace_put(l, "%#x", (unsigned)events);
}

static bool strace_poll(struct strace_line *l, uint64_t at, uint64_t count)
{
    struct pollfd p;
    strace_put(l, "[");
    for (uint64_t i = 0; i < (uint32_t)count; i++) {
        strace_put(l, i ? ", " : "");
        if (i == STRACE_ITEMS || !guest_read(&p, at + i * sizeof p, sizeof p)) {
            strace_put(l, "...");
            break;
        }
        strace_put(l, "{fd=%d, events=", p.fd);
        strace_poll_events(l, p.events);
        if (p.revents) {
            strace_put(l, ", revents=");
            strace_poll_events(l, p.revents);
        }
        strace_put(l, "}");
    }
    strace_put(l, "]");
    return true;
}

/* ---- signals ---- */

/* A set that has most signals is told by those that it lacks. */
static void strace_set(struct strace_line *l, uint64_t set)
{
    bool inverse = __builtin_popcountll(set) > SIGNAL_COUNT / 2;
    bool first = true;
    strace_put(l, inverse ? "~[" : "[");
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
        if ((set >> i & 1) == inverse)
            continue;
        const char *name = sigabbrev_np((int)i + 1);
        if (name)
            strace_put(l, "%s%s", first ? "" : " ", name);
        else
            strace_put(l, "%sRT_%u", first ? "" : " ", i - 31);
        first = false;
    }
    strace_put(l, "]");
}

static bool strace_sigset(struct strace_line *l, uint64_t at)
{
    uint64_t set;
    if (!guest_read(&set, at, sizeof set))
        return false;
    strace_set(l, set);
    return true;
}

static bool strace_sigaction(struct strace_line *l, uint64_t at)
{
    struct signal_action a;
    if (!guest_read(&a, at, sizeof a))
        return false;
    if (a.handler > 1)
        strace_put(l, "{sa_handler=%#" PRIx64, a.handler);
    else
        strace_put(l, "{sa_handler=%s", a.handler ? "SIG_IGN" : "SIG_DFL");
    strace_put(l, ", sa_mask=");
    strace_set(l, a.mask);
    strace_put(l, ", sa_flags=%#" PRIx64 "}", a.flags);
    return true;
}

static bool strace_wstatus(struct strace_line *l, uint64_t at)
{
    int s;
    if (!guest_read(&s, at, sizeof s))
        return false;
    if (WIFEXITED(s))
        strace_put(l, "[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", WEXITSTATUS(s));
    else if (WIFSIGNALED(s))
        strace_put(l, "[{WIFSIGNALED(s) && WTERMSIG(s) == %d}]", WTERMSIG(s));
    else if (WIFSTOPPED(s))
        strace_put(l, "[{WIFSTOPPED(s) && WSTOPSIG(s) == %d}]", WSTOPSIG(s));
    else
        strace_put(l, "[%#x]", (unsigned)s);
    return true;
}

/* ---- socket addresses ---- */

union strace_sockaddr {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static bool strace_sockaddr(struct strace_line *l, uint64_t at, uint64_t size)
{
    union strace_sockaddr a = {0};
    char text[INET6_ADDRSTRLEN] = "";
    if (size > sizeof a || size < sizeof a.any.sa_family || !guest_read(&a, at, size))
        return false;
    strace_put(l, "{sa_family=");
    strace_named(l, T_FAMILY, a.any.sa_family);
    if (a.any.sa_family == AF_UNIX) {
        bool abstract = !a.un.sun_path[0] && size > sizeof a.any.sa_family;
        strace_put(l, ", sun_path=%s\"%.*s\"", abstract ? "@" : "", (int)sizeof a.un.sun_path - 1,
                   a.un.sun_path + abstract);
    } else if (a.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a.in.sin_addr, text, sizeof text);
        strace_put(l, ", sin_port=htons(%u), sin_addr=\"%s\"", ntohs(a.in.sin_port), text);
    } else if (a.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.in6.sin6_addr, text, sizeof text);
        strace_put(l, ", sin6_port=htons(%u), sin6_addr=\"%s\"", ntohs(a.in6.sin6_port), text);
    }
    strace_put(l, "}");
    return true;
}

/* ---- all of them ---- */

static bool strace_from_kernel(enum syscall_type type)
{
    return type == T_OUT || type == T_FDS || type == T_TIME_OUT || type == T_STAT ||
           type == T_WSTATUS;
}

static bool strace_structure(struct strace_line *l, enum syscall_type type, uint64_t at,
                             uint64_t next)
{
    switch (type) {
    case T_FDS:
        return strace_fds(l, at);
    case T_TIME:
    case T_TIME_OUT:
        return strace_time(l, at);
    case T_STAT:
        return strace_stat(l, at);
    case T_POLL:
        return strace_poll(l, at, next);
    case T_SIGSET:
        return strace_sigset(l, at);
    case T_SIGACTION:
        return strace_sigaction(l, at);
    case T_SOCKADDR:
        return strace_sockaddr(l, at, next);
    case T_WSTATUS:
        return strace_wstatus(l, at);
    default:
        return false;
    }
}

void strace_data(struct strace_line *l, enum syscall_type type, uint64_t at, uint64_t next,
                 int64_t result)
{
    if (!at || (strace_from_kernel(type) && result < 0))
        strace_address(l, at);
    else if (type == T_IN)
        strace_bytes(l, at, next, STRACE_BYTES);
    else if (type == T_OUT)
        strace_bytes(l, at, (uint64_t)result, STRACE_BYTES);
    else if (type == T_IOVEC)
        strace_iovec(l, at, next);
    else if (type == T_ARGV)
        strace_argv(l, at);
    else if (!strace_structure(l, type, at, next))
        strace_address(l, at);
}
