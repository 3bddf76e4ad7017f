#include "share/share.h"

#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "guise-fs"
#define SOCKET_FD 3 /* of the program, and where it says why it cannot start */
#define STATUS_FD 4
#define END_WAIT_MS 1000

struct share {
    char *text;
    const char *path;
    const char *owner; /* "UID[:GID]" or NULL */
    bool is_socket, readonly;
    char tag[SHARE_TAG_MAX + 1];
    int fd; /* -1: none, or somebody else's */
    pid_t pid;
};

/* ---- the text ---- */

static int share_set_tag(struct share *s, const char *tag, struct error *err)
{
    size_t len = strlen(tag);
    if (!len || len > SHARE_TAG_MAX)
        return error_set(err, EINVAL, "tag '%s' must have 1 to %u bytes", tag, SHARE_TAG_MAX);
    memcpy(s->tag, tag, len + 1);
    return 0;
}

static bool is_owner(const char *text)
{
    char *end;
    unsigned long id = strtoul(text, &end, 10);
    bool ok = end != text && *text >= '0' && *text <= '9' && id < UINT32_MAX;
    if (ok && *end == ':') {
        text = end + 1;
        id = strtoul(text, &end, 10);
        ok = end != text && *text >= '0' && *text <= '9' && id < UINT32_MAX;
    }
    return ok && !*end;
}

/* One option at the end of the text; *found is false if it is none. */
static int share_option(struct share *s, const char *option, bool *found, struct error *err)
{
    *found = true;
    if (!strncmp(option, "tag=", 4))
        return s->tag[0] ? 0 : share_set_tag(s, option + 4, err);
    if (!strcmp(option, "readonly")) {
        s->readonly = true;
        return 0;
    }
    if (!strncmp(option, "owner=", 6)) {
        s->owner = option + 6;
        return is_owner(s->owner)
                   ? 0
                   : error_set(err, EINVAL, "owner '%s' is not UID or UID:GID", s->owner);
    }
    *found = false;
    return 0;
}

static int share_parse(struct share *s, const char *spec, unsigned index, struct error *err)
{
    s->text = strdup(spec);
    if (!s->text)
        return error_set(err, ENOMEM, "out of memory for the folder %s", spec);
    /* From the end, so that a name may have commas of its own. */
    bool found = true;
    for (char *comma; found && (comma = strrchr(s->text, ','));) {
        int rc = share_option(s, comma + 1, &found, err);
        if (rc)
            return rc;
        if (found)
            *comma = 0;
    }
    s->is_socket = !strncmp(s->text, "socket=", 7);
    s->path = s->text + (s->is_socket ? 7 : 0);
    if (!*s->path)
        return error_set(err, EINVAL, "there is no folder in '%s'", spec);
    if (s->is_socket && (s->readonly || s->owner))
        return error_set(err, EINVAL, "'%s': who listens at the socket decides about that", spec);
    if (!s->tag[0])
        snprintf(s->tag, sizeof s->tag, index ? "share%u" : "share", index);
    return 0;
}

int share_check(const char *spec, struct error *err)
{
    struct share s = {0};
    int rc = share_parse(&s, spec, 0, err);
    free(s.text);
    return rc;
}

/* ---- the process ---- */

static int share_spawn(struct share *s, int socket, int status, struct error *err)
{
    const char *argv[8] = {PROGRAM};
    const int fds[] = {[SOCKET_FD - 3] = socket, [STATUS_FD - 3] = status};
    unsigned argc = 1;
    if (s->readonly)
        argv[argc++] = "--readonly";
    if (s->owner) {
        argv[argc++] = "--owner";
        argv[argc++] = s->owner;
    }
    argv[argc++] = "--";
    argv[argc++] = s->path;
    return program_start("GUISE_FS", argv, fds, 2, "shared folders need this program", &s->pid,
                         err);
}

/* It says why it cannot start, or closes the pipe. */
static int share_wait(const char *path, int status, struct error *err)
{
    char text[300];
    size_t len = 0;
    for (ssize_t n; len < sizeof text - 1; len += (size_t)n) {
        n = read(status, text + len, sizeof text - 1 - len);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            break;
    }
    text[len] = 0;
    if (!strcmp(text, "ok"))
        return 0;
    return len ? error_set(err, EIO, "%s", text)
               : error_set(err, EIO, "%s: %s has ended at once", path, PROGRAM);
}

/*
 * Descriptors that end up as two others: neither of a pair may be at the other's place, so all are
 * moved out of the way first.
 */
static int moved(int fd)
{
    int to = fcntl(fd, F_DUPFD_CLOEXEC, STATUS_FD + 1);
    close(fd);
    return to;
}

static int share_start(struct share *s, struct error *err)
{
    int pair[2], status[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return error_set(err, errno, "cannot make a socket for %s: %s", PROGRAM, strerror(errno));
    if (pipe2(status, O_CLOEXEC)) {
        close(pair[0]);
        close(pair[1]);
        return error_set(err, errno, "cannot make a pipe for %s: %s", PROGRAM, strerror(errno));
    }
    s->fd = pair[0];
    pair[1] = moved(pair[1]);
    status[1] = moved(status[1]);
    int rc = pair[1] < 0 || status[1] < 0 ? error_set(err, EMFILE, "no descriptors for %s", PROGRAM)
                                          : share_spawn(s, pair[1], status[1], err);
    close(pair[1]);
    close(status[1]);
    if (!rc)
        rc = share_wait(s->path, status[0], err);
    close(status[0]);
    return rc;
}

static int share_connect(struct share *s, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(s->path) >= sizeof address.sun_path)
        return error_set(err, ENAMETOOLONG, "%s: too long for a socket's name", s->path);
    strcpy(address.sun_path, s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&address, sizeof address))
        return error_set(err, errno, "%s: no daemon can be reached at this socket: %s", s->path,
                         strerror(errno));
    return 0;
}

struct share *share_open(const char *spec, unsigned index, struct error *err)
{
    struct share *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ENOMEM, "out of memory for the folder %s", spec);
        return NULL;
    }
    s->fd = -1;
    int rc = share_parse(s, spec, index, err);
    if (!rc)
        rc = s->is_socket ? share_connect(s, err) : share_start(s, err);
    if (!rc)
        return s;
    share_free(s);
    return NULL;
}

/*
 * The program ends when the socket is closed (everything that the guest was told is written is with
 * the host's kernel then), or with this process, whatever it does: a confined one cannot kill.
 */
static void share_await_end(pid_t pid)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    for (int i = 0; i < END_WAIT_MS && !waitpid(pid, NULL, WNOHANG); i++)
        nanosleep(&ms, NULL);
}

void share_free(struct share *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->pid)
        share_await_end(s->pid);
    free(s->text);
    free(s);
}

const char *share_tag(const struct share *s)
{
    return s->tag;
}

const char *share_path(const struct share *s)
{
    return s->path;
}

int share_take_socket(struct share *s)
{
    int fd = s->fd;
    s->fd = -1;
    return fd;
}
