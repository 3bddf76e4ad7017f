#include "dev/virtio/vhost_user.h"

#include "dev/virtio/vhost_msg.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 30 /* it may be in the middle of a long write */
#define DRAIN_PAUSE_NS 200000

/* ---- requests ---- */

/* What the back end answers to a request that has an answer of `size` bytes. */
static int vhost_user_answer(struct vhost_user *vu, uint32_t request, uint32_t size,
                             struct vhost_msg *answer)
{
    int fds[VHOST_MAX_REGIONS];
    unsigned count;
    int rc = vhost_receive(vu->fd, answer, fds, &count);
    bool expected = !count && answer->request == request && answer->size == size &&
                    answer->flags & VHOST_FLAG_REPLY;
    while (!rc && count)
        close(fds[--count]);
    return rc ? rc : expected ? 0 : -EPROTO;
}

/* One without an answer of its own, of which the back end says whether it succeeded if it can. */
static int vhost_user_set(struct vhost_user *vu, struct vhost_msg *m, const int *fds, unsigned n)
{
    struct vhost_msg answer;
    m->flags = VHOST_VERSION | (vu->reply_ack ? VHOST_FLAG_NEED_REPLY : 0u);
    int rc = vhost_send(vu->fd, m, fds, n);
    if (!rc && vu->reply_ack)
        rc = vhost_user_answer(vu, m->request, sizeof answer.u64, &answer);
    return !rc && vu->reply_ack && answer.u64 ? -EIO : rc;
}

static int vhost_user_set_u64(struct vhost_user *vu, uint32_t request, uint64_t value)
{
    struct vhost_msg m = {.request = request, .size = sizeof m.u64, .u64 = value};
    return vhost_user_set(vu, &m, NULL, 0);
}

static int vhost_user_set_state(struct vhost_user *vu, uint32_t request, unsigned queue,
                                unsigned num)
{
    struct vhost_msg m = {.request = request, .size = sizeof m.state, .state = {queue, num}};
    return vhost_user_set(vu, &m, NULL, 0);
}

static int vhost_user_set_fd(struct vhost_user *vu, uint32_t request, unsigned queue, int fd)
{
    struct vhost_msg m = {.request = request, .size = sizeof m.u64, .u64 = queue};
    return vhost_user_set(vu, &m, &fd, 1);
}

static int vhost_user_get_u64(struct vhost_user *vu, uint32_t request, uint64_t *value)
{
    struct vhost_msg m = {.request = request, .flags = VHOST_VERSION}, answer;
    int rc = vhost_send(vu->fd, &m, NULL, 0);
    if (!rc)
        rc = vhost_user_answer(vu, request, sizeof answer.u64, &answer);
    *value = rc ? 0 : answer.u64;
    return rc;
}

/* ---- queues ---- */

/* Guest memory, at addresses in "our process" that are the guest's own: both sides only compare. */
static int vhost_user_send_memory(struct vhost_user *vu)
{
    struct vhost_msg m = {.request = VHOST_SET_MEM_TABLE};
    int fds[VHOST_MAX_REGIONS];
    uint32_t n = 0;
    gpa_t base;
    uint64_t size, offset;
    for (; addrspace_ram_region(vu->vd->mem, n, &base, &size); n++) {
        if (n == VHOST_MAX_REGIONS ||
            !addrspace_ram_file(vu->vd->mem, base, size, &fds[n], &offset))
            return -ENOSPC;
        m.memory.regions[n] = (struct vhost_region){base, size, base, offset};
    }
    m.memory.count = n;
    m.size = (uint32_t)(offsetof(struct vhost_memory, regions) + n * sizeof(struct vhost_region));
    return vhost_user_set(vu, &m, fds, n);
}

static int vhost_user_prepare(struct vhost_user *vu)
{
    if (vu->memory_sent)
        return 0;
    int rc = vhost_user_send_memory(vu);
    vu->memory_sent = !rc;
    return rc;
}

static bool vhost_user_any_started(const struct vhost_user *vu)
{
    for (unsigned i = 0; i < vu->queue_count; i++)
        if (vu->queues[i].started)
            return true;
    return false;
}

static int vhost_user_start_queue(struct vhost_user *vu, unsigned i)
{
    const struct virtq *q = &vu->vd->queues[i];
    struct vhost_msg addr = {.request = VHOST_SET_VRING_ADDR, .size = sizeof addr.addr};
    addr.addr =
        (struct vhost_vring_addr){.index = i, .desc = q->desc, .avail = q->avail, .used = q->used};
    int rc = vhost_user_prepare(vu);
    if (!rc && !vhost_user_any_started(vu))
        rc = vhost_user_set_u64(vu, VHOST_SET_FEATURES,
                                vu->vd->features | VIRTIO_FEATURE(VHOST_F_PROTOCOL_FEATURES));
    if (!rc)
        rc = vhost_user_set_state(vu, VHOST_SET_VRING_NUM, i, q->size);
    if (!rc)
        rc = vhost_user_set_state(vu, VHOST_SET_VRING_BASE, i, q->next_avail);
    if (!rc)
        rc = vhost_user_set(vu, &addr, NULL, 0);
    if (!rc)
        rc = vhost_user_set_fd(vu, VHOST_SET_VRING_CALL, i, vu->queues[i].call);
    if (!rc)
        rc = vhost_user_set_fd(vu, VHOST_SET_VRING_KICK, i, vu->queues[i].kick);
    if (!rc)
        rc = vhost_user_set_state(vu, VHOST_SET_VRING_ENABLE, i, 1);
    vu->queues[i].started = !rc;
    return rc;
}

static int vhost_user_stop_queue(struct vhost_user *vu, unsigned i)
{
    struct vhost_msg m = {.request = VHOST_GET_VRING_BASE, .flags = VHOST_VERSION}, answer;
    m.size = sizeof m.state;
    m.state = (struct vhost_vring_state){i, 0};
    int rc = vhost_send(vu->fd, &m, NULL, 0);
    if (!rc)
        rc = vhost_user_answer(vu, m.request, sizeof answer.state, &answer);
    if (!rc && (answer.state.index != i || answer.state.num > UINT16_MAX))
        rc = -EPROTO;
    if (!rc)
        virtq_take_back(&vu->vd->queues[i], (uint16_t)answer.state.num);
    vu->queues[i].started &= rc != 0;
    return rc;
}

/*
 * The back end is of no use any more; what its queues' state is, the rings say. Only the loop's
 * thread may forget the socket, and it sees the end.
 */
static void vhost_user_failed(struct vhost_user *vu)
{
    shutdown(vu->fd, SHUT_RDWR);
    vu->broken = true;
    for (unsigned i = 0; i < vu->queue_count; i++) {
        if (vu->queues[i].started)
            virtq_take_back_used(&vu->vd->queues[i]);
        vu->queues[i].started = false;
    }
}

static void vhost_user_give_up(struct vhost_user *vu)
{
    vhost_user_failed(vu);
    loop_fd_remove(vu->loop, &vu->watch);
    close(vu->fd);
    vu->fd = -1;
    if (vu->gone)
        vu->gone(vu->vd);
}

bool vhost_user_notify(struct vhost_user *vu, unsigned queue)
{
    if (vu->fd < 0)
        return false;
    if (vu->broken || queue >= vu->queue_count)
        return true;
    if (!vu->queues[queue].started && vhost_user_start_queue(vu, queue)) {
        vhost_user_failed(vu);
        return true;
    }
    eventfd_write(vu->queues[queue].kick, 1);
    return true;
}

void vhost_user_stop(struct vhost_user *vu)
{
    for (unsigned i = 0; i < vu->queue_count && vu->fd >= 0 && !vu->broken; i++)
        if (vu->queues[i].started && vhost_user_stop_queue(vu, i))
            vhost_user_failed(vu);
}

/* Has the back end, which has no queue now, done all that there was in them? */
static bool vhost_user_idle(struct vhost_user *vu)
{
    for (unsigned i = 0; i < vu->queue_count; i++)
        if (virtio_dev_queue_live(vu->vd, i) && virtq_pending(&vu->vd->queues[i]))
            return false;
    return true;
}

void vhost_user_drain(struct vhost_user *vu)
{
    const struct timespec pause = {.tv_nsec = DRAIN_PAUSE_NS};
    bool was_started = vhost_user_any_started(vu);
    while (was_started) {
        vhost_user_stop(vu);
        if (vu->fd < 0 || vu->broken || vhost_user_idle(vu))
            break;
        for (unsigned i = 0; i < vu->queue_count; i++)
            if (virtio_dev_queue_live(vu->vd, i))
                vhost_user_notify(vu, i);
        nanosleep(&pause, NULL);
    }
    /* Whatever comes next makes the driver notify, and that hands the queue over again. */
    for (unsigned i = 0; was_started && i < vu->queue_count; i++)
        virtio_dev_arm(vu->vd, i);
}

/* ---- the loop's thread ---- */

static void vhost_user_called(void *ctx, unsigned events)
{
    struct vhost_queue *q = ctx;
    struct virtio_dev *vd = q->owner->vd;
    eventfd_t count;
    (void)events;
    if (eventfd_read(q->call, &count))
        return;
    pthread_mutex_lock(&vd->dev.lock);
    if (virtio_dev_queue_live(vd, q->index))
        virtio_dev_interrupt(vd, q->index);
    pthread_mutex_unlock(&vd->dev.lock);
}

/* Answers are read with the lock held: what is there now is the end, or nothing that was asked. */
static void vhost_user_socket(void *ctx, unsigned events)
{
    struct vhost_user *vu = ctx;
    char byte;
    (void)events;
    pthread_mutex_lock(&vu->vd->dev.lock);
    if (vu->fd >= 0 && (vu->broken || recv(vu->fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN))
        vhost_user_give_up(vu);
    pthread_mutex_unlock(&vu->vd->dev.lock);
}

/* ---- set-up ---- */

static int vhost_user_open_queue(struct vhost_user *vu, unsigned i)
{
    struct vhost_queue *q = &vu->queues[i];
    q->owner = vu;
    q->index = i;
    q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->kick < 0 || q->call < 0)
        return -errno;
    loop_fd_init(&q->watch, q->call, vhost_user_called, q);
    return loop_fd_watch(vu->loop, &q->watch, LOOP_IN);
}

static int vhost_user_open_queues(struct vhost_user *vu)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < vu->queue_count; i++)
        rc = vhost_user_open_queue(vu, i);
    loop_fd_init(&vu->watch, vu->fd, vhost_user_socket, vu);
    return rc ? rc : loop_fd_watch(vu->loop, &vu->watch, LOOP_IN);
}

static int vhost_user_handshake(struct vhost_user *vu, unsigned *queues, struct error *err)
{
    uint64_t features, protocol = 0, count = *queues;
    int rc = vhost_user_get_u64(vu, VHOST_GET_FEATURES, &features);
    if (rc)
        return error_set(err, -rc, "the back end does not answer: %s", strerror(-rc));
    if (!(features & VIRTIO_FEATURE(VHOST_F_PROTOCOL_FEATURES)) ||
        !(features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1)))
        return error_set(err, EPROTO, "the back end is too old (features 0x%llx)",
                         (unsigned long long)features);
    vu->vd->offered &= features;
    rc = vhost_user_get_u64(vu, VHOST_GET_PROTOCOL_FEATURES, &protocol);
    bool multi = protocol >> VHOST_PROTOCOL_F_MQ & 1,
         ack = protocol >> VHOST_PROTOCOL_F_REPLY_ACK & 1;
    if (!rc)
        rc = vhost_user_set_u64(vu, VHOST_SET_PROTOCOL_FEATURES,
                                protocol & (VIRTIO_FEATURE(VHOST_PROTOCOL_F_MQ) |
                                            VIRTIO_FEATURE(VHOST_PROTOCOL_F_REPLY_ACK)));
    vu->reply_ack = ack;
    if (!rc && multi)
        rc = vhost_user_get_u64(vu, VHOST_GET_QUEUE_NUM, &count);
    if (!rc)
        rc = vhost_user_set(vu, &(struct vhost_msg){.request = VHOST_SET_OWNER}, NULL, 0);
    if (rc)
        return error_set(err, -rc, "the back end does not set itself up: %s", strerror(-rc));
    if (count && count < *queues)
        *queues = (unsigned)count;
    return 0;
}

int vhost_user_init(struct vhost_user *vu, struct virtio_dev *vd, int fd, struct loop *loop,
                    unsigned *queues, struct error *err)
{
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    vu->vd = vd;
    vu->loop = loop;
    vu->fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int rc = vhost_user_handshake(vu, queues, err);
    if (rc)
        return rc;
    for (unsigned i = 0; i < *queues; i++)
        vu->queues[i].kick = vu->queues[i].call = -1;
    vu->queue_count = *queues;
    rc = vhost_user_open_queues(vu);
    return rc ? error_set(err, -rc, "no descriptors for the back end: %s", strerror(-rc)) : 0;
}

void vhost_user_fini(struct vhost_user *vu)
{
    for (unsigned i = 0; i < vu->queue_count; i++) {
        struct vhost_queue *q = &vu->queues[i];
        if (q->watch.added)
            loop_fd_remove(vu->loop, &q->watch);
        if (q->kick >= 0)
            close(q->kick);
        if (q->call >= 0)
            close(q->call);
    }
    if (vu->watch.added)
        loop_fd_remove(vu->loop, &vu->watch);
    if (vu->fd >= 0)
        close(vu->fd);
    vu->fd = -1;
    vu->queue_count = 0;
}
