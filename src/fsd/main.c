/*
 * guise-fs: serves one shared folder to one machine. guise starts it (share/share.c) and passes a
 * vhost-user socket as descriptor 3 and a pipe as descriptor 4, over which it says "ok" or why it
 * does not work. Then it gives up what it does not need (jail.h), and ends when the other side of
 * the socket does.
 */
#include "fsd/backend.h"
#include "fsd/fs.h"
#include "fsd/jail.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEER 3
#define STATUS 4
#define MOST_DESCRIPTORS (1u << 20)
#define OWN_DESCRIPTORS 64u /* those of queues and memory, with room to spare */

struct daemon {
    struct fs *fs;
    struct fs_config config;
    const char *path;
    uint8_t *scratch[BACKEND_QUEUES];
};

static uint32_t daemon_serve(void *ctx, unsigned queue, struct virtq_chain *chain)
{
    struct daemon *d = ctx;
    return fs_request(d->fs, chain, d->scratch[queue]);
}

/* As many descriptors as this user may have. */
static int daemon_limits(struct daemon *d, struct error *err)
{
    struct rlimit files, none = {0};
    if (getrlimit(RLIMIT_NOFILE, &files))
        return error_set(err, errno, "no limit of descriptors: %s", strerror(errno));
    if (files.rlim_max > MOST_DESCRIPTORS)
        files.rlim_max = MOST_DESCRIPTORS;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setrlimit(RLIMIT_CORE, &none);
    if (files.rlim_cur < 4 * OWN_DESCRIPTORS)
        return error_set(err, EMFILE, "%llu descriptors are too few for a shared folder",
                         (unsigned long long)files.rlim_cur);
    d->config.max_descriptors = (uint32_t)files.rlim_cur - OWN_DESCRIPTORS;
    return 0;
}

static int daemon_options(struct daemon *d, int argc, char **argv, struct error *err)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--readonly")) {
            d->config.readonly = true;
        } else if (!strcmp(argv[i], "--owner") && i + 1 < argc) {
            char *end;
            d->config.uid = d->config.gid = (uint32_t)strtoul(argv[++i], &end, 10);
            if (*end == ':')
                d->config.gid = (uint32_t)strtoul(end + 1, NULL, 10);
        } else if (!strcmp(argv[i], "--") && i + 2 == argc) {
            d->path = argv[i + 1];
            return 0;
        } else {
            return error_set(err, EINVAL, "'%s' is no option of guise-fs", argv[i]);
        }
    }
    return error_set(err, EINVAL, "guise-fs: there is no folder");
}

static struct backend *daemon_start(struct daemon *d, int argc, char **argv, struct error *err)
{
    int rc = daemon_options(d, argc, argv, err);
    if (!rc)
        rc = daemon_limits(d, err);
    if (!rc)
        rc = jail_files(d->path, d->config.readonly, &d->config.root, err);
    if (rc || !(d->fs = fs_new(&d->config, err)))
        return NULL;
    for (unsigned i = 0; i < BACKEND_QUEUES; i++)
        if (!(d->scratch[i] = calloc(1, FS_BODY_MAX))) {
            error_set(err, ENOMEM, "out of memory for a shared folder");
            return NULL;
        }
    /* With the socket it ends by itself; with the one who started it, whatever holds it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct backend *b = backend_new(daemon_serve, d, err);
    return b && !jail_calls(err) ? b : NULL;
}

int main(int argc, char **argv)
{
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(PEER, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM) {
        fputs("guise-fs: this program is started by guise for --share\n", stderr);
        return 2;
    }
    /* Nothing else is inherited, and a guest must not be able to fill a log. */
    close_range(STATUS + 1, ~0u, 0);
    dup2(STDIN_FILENO, STDERR_FILENO);
    umask(0);
    struct daemon d = {0};
    struct error err = {0};
    struct backend *b = daemon_start(&d, argc, argv, &err);
    (void)!write(STATUS, b ? "ok" : err.msg, strlen(b ? "ok" : err.msg));
    close(STATUS);
    return b && backend_run(b, PEER) ? 0 : 1;
}
