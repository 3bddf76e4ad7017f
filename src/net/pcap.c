/*
 * Captures in pcap's format (draft-ietf-opsawg-pcap) with nanoseconds. Each frame is written at
 * once, so that the file is good whatever ends the process.
 */
#include "net/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC_NS 0xa1b23c4du
#define LINK_ETHERNET 1u
#define SNAP_LENGTH 262144u

struct pcap_head {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, snap_length, link;
};

struct pcap_record {
    uint32_t seconds, nanoseconds, captured, length;
};

struct net_pcap {
    pthread_mutex_t lock; /* queues write at once */
    int fd;
    off_t end; /* of the last whole frame */
};

static int pcap_start(struct net_pcap *p, const char *path, struct error *err)
{
    const struct pcap_head head = {.magic = MAGIC_NS,
                                   .major = 2,
                                   .minor = 4,
                                   .snap_length = SNAP_LENGTH,
                                   .link = LINK_ETHERNET};
    struct stat st;
    p->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (p->fd < 0)
        return error_set(err, errno, "%s: cannot write a capture there: %s", path, strerror(errno));
    /* Anything else could block the guest, or take half a frame. */
    if (fstat(p->fd, &st) || !S_ISREG(st.st_mode))
        return error_set(err, EINVAL, "%s: a capture needs a regular file", path);
    if (ftruncate(p->fd, 0) || write(p->fd, &head, sizeof head) != (ssize_t)sizeof head)
        return error_set(err, EIO, "%s: cannot write a capture there", path);
    p->end = (off_t)sizeof head;
    return 0;
}

struct net_pcap *net_pcap_open(const char *path, struct error *err)
{
    struct net_pcap *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ENOMEM, "%s: out of memory", path);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    if (!pcap_start(p, path, err))
        return p;
    net_pcap_close(p);
    return NULL;
}

void net_pcap_close(struct net_pcap *p)
{
    if (!p)
        return;
    if (p->fd >= 0)
        close(p->fd);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void pcap_put(struct net_pcap *p, const struct iovec *frame, unsigned count, size_t len)
{
    struct iovec iov[NET_MAX_SEGMENTS + 1];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct pcap_record record = {(uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)len,
                                 (uint32_t)len};
    iov[0] = (struct iovec){.iov_base = &record, .iov_len = sizeof record};
    memcpy(iov + 1, frame, count * sizeof *frame);
    ssize_t n = writev(p->fd, iov, (int)count + 1);
    if (n == (ssize_t)(sizeof record + len)) {
        p->end += n;
        return;
    }
    /* The disk is full: the capture ends with the last whole frame. */
    if (ftruncate(p->fd, p->end))
        p->end = 0;
    close(p->fd);
    p->fd = -1;
}

void net_pcap_frame(struct net_pcap *p, const struct iovec *frame, unsigned count, size_t len)
{
    pthread_mutex_lock(&p->lock);
    if (p->fd >= 0 && count <= NET_MAX_SEGMENTS)
        pcap_put(p, frame, count, len);
    pthread_mutex_unlock(&p->lock);
}
