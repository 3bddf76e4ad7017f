#include "fsd/backend.h"

#include "dev/virtio/vhost_msg.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FEATURES                                                                   \
    (VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | \
     VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIRTIO_FEATURE(VHOST_F_PROTOCOL_FEATURES))
#define PROTOCOL_FEATURES \
    (VIRTIO_FEATURE(VHOST_PROTOCOL_F_MQ) | VIRTIO_FEATURE(VHOST_PROTOCOL_F_REPLY_ACK))

struct backend_queue {
    struct backend *owner;
    unsigned index;
    pthread_mutex_t lock; /* of what follows; held while requests are served */
    pthread_cond_t changed;
    struct virtq q;
    struct virtq_chain *chain;
    int kick, call; /* -1: none */
    int wake;       /* makes the thread look at `running` */
    bool running, polling;
    struct vhost_vring_addr addr;
};

struct backend {
    backend_serve serve;
    void *ctx;
    struct addrspace *mem;
    struct vhost_memory table;
    uint64_t features;
    struct backend_queue queues[BACKEND_QUEUES];
};

/* ---- a queue's thread ---- */

static void queue_signal(struct backend_queue *q)
{
    if (q->call >= 0 && virtq_wants_interrupt(&q->q))
        eventfd_write(q->call, 1);
}

/* What a driver does wrong in its rings ends the service of the queue. */
static void queue_service(struct backend_queue *q)
{
    while (q->running) {
        int rc = virtq_arm(&q->q), served = 0;
        for (; !rc && (rc = virtq_pop(&q->q, q->chain)) > 0; served++, rc = 0) {
            uint32_t written = q->owner->serve(q->owner->ctx, q->index, q->chain);
            virtq_push(&q->q, q->chain, written);
            queue_signal(q);
        }
        q->running &= rc >= 0;
        if (rc || !served)
            return;
    }
}

/* Lock held, and held again afterwards. */
static void queue_wait(struct backend_queue *q)
{
    struct pollfd fds[2] = {{.fd = q->kick, .events = POLLIN}, {.fd = q->wake, .events = POLLIN}};
    eventfd_t count;
    q->polling = true;
    pthread_mutex_unlock(&q->lock);
    poll(fds, 2, -1);
    if (fds[0].revents)
        eventfd_read(fds[0].fd, &count);
    pthread_mutex_lock(&q->lock);
    if (fds[1].revents)
        eventfd_read(q->wake, &count);
    q->polling = false;
    pthread_cond_broadcast(&q->changed);
}

static void *queue_thread(void *ctx)
{
    struct backend_queue *q = ctx;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->running)
            pthread_cond_wait(&q->changed, &q->lock);
        queue_service(q);
        if (q->running)
            queue_wait(q);
    }
    return NULL;
}

/* Lock held: comes back when the thread uses none of the queue's descriptors. */
static void queue_stop(struct backend_queue *q)
{
    q->running = false;
    eventfd_write(q->wake, 1);
    while (q->polling)
        pthread_cond_wait(&q->changed, &q->lock);
}

/* ---- requests: 0 or -errno ---- */

static void replace_fd(int *place, int fd)
{
    if (*place >= 0)
        close(*place);
    *place = fd;
}

/* An address in the front end's process as one in its guest; the region's end if there is none. */
static int guest_address(const struct backend *b, uint64_t user, uint64_t *gpa)
{
    for (uint32_t i = 0; i < b->table.count; i++) {
        const struct vhost_region *r = &b->table.regions[i];
        if (user - r->user < r->size) {
            *gpa = r->gpa + (user - r->user);
            return 0;
        }
    }
    return -EFAULT;
}

static int queue_enable(struct backend *b, struct backend_queue *q)
{
    int rc = b->mem ? 0 : -EINVAL;
    if (!rc)
        rc = guest_address(b, q->addr.desc, &q->q.desc);
    if (!rc)
        rc = guest_address(b, q->addr.avail, &q->q.avail);
    if (!rc)
        rc = guest_address(b, q->addr.used, &q->q.used);
    if (!rc)
        rc = virtq_enable(&q->q, b->mem, b->features >> VIRTIO_F_INDIRECT_DESC & 1,
                          b->features >> VIRTIO_F_EVENT_IDX & 1);
    if (rc)
        return rc;
    virtq_take_back(&q->q, q->q.next_avail); /* the used index is in the ring */
    q->running = true;
    pthread_cond_broadcast(&q->changed);
    return 0;
}

static int set_memory(struct backend *b, const struct vhost_msg *m, int *fds, unsigned *fd_count)
{
    struct vhost_memory table = m->memory;
    uint32_t n = table.count;
    if (n != *fd_count || !n || n > VHOST_MAX_REGIONS ||
        m->size < offsetof(struct vhost_memory, regions) + n * sizeof table.regions[0])
        return -EINVAL;
    for (unsigned i = 0; i < BACKEND_QUEUES; i++)
        if (b->queues[i].running)
            return -EBUSY;
    addrspace_free(b->mem);
    b->mem = addrspace_new(NULL);
    b->table = table;
    int rc = b->mem ? 0 : -ENOMEM;
    for (uint32_t i = 0; !rc && i < n; i++) {
        const struct vhost_region *r = &table.regions[i];
        rc = addrspace_add_shared(b->mem, r->gpa, r->size, fds[i], r->offset, NULL);
        fds[i] = -1;
    }
    return rc;
}

static int set_fd(struct backend_queue *q, const struct vhost_msg *m, int *fds, unsigned fd_count)
{
    int fd = m->u64 & VHOST_VRING_NO_FD || !fd_count ? -1 : fds[0];
    if (fd >= 0)
        fds[0] = -1;
    if (m->request == VHOST_SET_VRING_CALL) {
        replace_fd(&q->call, fd);
        return 0;
    }
    if (m->request != VHOST_SET_VRING_KICK) {
        replace_fd(&fd, -1);
        return 0;
    }
    queue_stop(q);
    replace_fd(&q->kick, fd);
    return 0;
}

/* Requests of a queue. *answer: there is one in m. */
static int queue_request(struct backend *b, struct vhost_msg *m, int *fds, unsigned fd_count,
                         bool *answer)
{
    uint64_t index = m->request == VHOST_SET_VRING_KICK || m->request == VHOST_SET_VRING_CALL ||
                             m->request == VHOST_SET_VRING_ERR
                         ? m->u64 & VHOST_VRING_INDEX
                         : m->state.index;
    if (index >= BACKEND_QUEUES)
        return -EINVAL;
    struct backend_queue *q = &b->queues[index];
    int rc = 0;
    pthread_mutex_lock(&q->lock);
    switch (m->request) {
    case VHOST_SET_VRING_NUM:
        rc = q->running || m->state.num > VIRTQ_MAX_SIZE ? -EINVAL : 0;
        q->q.size = rc ? q->q.size : (uint16_t)m->state.num;
        break;
    case VHOST_SET_VRING_BASE:
        rc = q->running ? -EINVAL : 0;
        q->q.next_avail = rc ? q->q.next_avail : (uint16_t)m->state.num;
        break;
    case VHOST_SET_VRING_ADDR:
        q->addr = m->addr;
        break;
    case VHOST_GET_VRING_BASE:
        queue_stop(q);
        m->state.num = q->q.next_avail;
        m->size = sizeof m->state;
        *answer = true;
        break;
    case VHOST_SET_VRING_ENABLE:
        queue_stop(q);
        rc = m->state.num && q->kick >= 0 ? queue_enable(b, q) : 0;
        break;
    default:
        rc = set_fd(q, m, fds, fd_count);
        break;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static int backend_request(struct backend *b, struct vhost_msg *m, int *fds, unsigned *fd_count,
                           bool *answer)
{
    uint64_t value = 0;
    switch (m->request) {
    case VHOST_GET_FEATURES:
        value = FEATURES;
        break;
    case VHOST_GET_PROTOCOL_FEATURES:
        value = PROTOCOL_FEATURES;
        break;
    case VHOST_GET_QUEUE_NUM:
        value = BACKEND_QUEUES;
        break;
    case VHOST_SET_FEATURES:
        b->features = m->u64;
        return m->u64 & ~FEATURES ? -EINVAL : 0;
    case VHOST_SET_OWNER:
    case VHOST_SET_PROTOCOL_FEATURES:
        return 0;
    case VHOST_SET_MEM_TABLE:
        return set_memory(b, m, fds, fd_count);
    case VHOST_SET_VRING_NUM:
    case VHOST_SET_VRING_ADDR:
    case VHOST_SET_VRING_BASE:
    case VHOST_GET_VRING_BASE:
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_SET_VRING_ERR:
    case VHOST_SET_VRING_ENABLE:
        return queue_request(b, m, fds, *fd_count, answer);
    default:
        return -ENOSYS;
    }
    m->u64 = value;
    m->size = sizeof m->u64;
    *answer = true;
    return 0;
}

static int backend_answer(int socket, struct vhost_msg *m, int rc, bool answer)
{
    if (!answer && !(m->flags & VHOST_FLAG_NEED_REPLY))
        return 0;
    if (!answer) {
        m->u64 = rc != 0;
        m->size = sizeof m->u64;
    }
    m->flags = VHOST_VERSION | VHOST_FLAG_REPLY;
    return vhost_send(socket, m, NULL, 0);
}

bool backend_run(struct backend *b, int socket)
{
    for (;;) {
        struct vhost_msg m;
        int fds[VHOST_MAX_REGIONS];
        unsigned fd_count;
        bool answer = false;
        int rc = vhost_receive(socket, &m, fds, &fd_count);
        if (rc)
            return rc == -ECONNRESET;
        int result = backend_request(b, &m, fds, &fd_count, &answer);
        for (unsigned i = 0; i < fd_count; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        if (backend_answer(socket, &m, result, answer))
            return false;
    }
}

static int queue_init(struct backend *b, unsigned i)
{
    struct backend_queue *q = &b->queues[i];
    pthread_t thread;
    q->owner = b;
    q->index = i;
    q->kick = q->call = -1;
    q->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->chain = malloc(sizeof *q->chain);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    if (q->wake < 0 || !q->chain)
        return -ENOMEM;
    return -pthread_create(&thread, NULL, queue_thread, q);
}

struct backend *backend_new(backend_serve serve, void *ctx, struct error *err)
{
    struct backend *b = calloc(1, sizeof *b);
    int rc = b ? 0 : -ENOMEM;
    if (b) {
        b->serve = serve;
        b->ctx = ctx;
    }
    for (unsigned i = 0; !rc && i < BACKEND_QUEUES; i++)
        rc = queue_init(b, i);
    if (!rc)
        return b;
    error_set(err, -rc, "cannot start threads: %s", strerror(-rc));
    return NULL; /* and the process ends */
}
