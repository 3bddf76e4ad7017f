/*
 * The front end of vhost-user, by the file-system device, against back ends of all kinds: one that
 * serves, one that says what makes no sense at each request, one that is gone. The device stays
 * whole, takes its queues back, and refuses requests.
 */
#include "test.h"

#include "base/bits.h"
#include "base/loop.h"
#include "dev/virtio/vhost_msg.h"
#include "dev/virtio/virtio_fs.h"
#include "dev/virtio/virtio_mmio.h"
#include "driver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define DEV UINT64_C(0x10001000)
#define IN (RAM + 0x20000)
#define OUT (RAM + 0x21000)
#define QUEUES 2u

enum wrong {
    RIGHT,
    SHORT,    /* an answer of another size */
    OTHER,    /* an answer to something else */
    FAILURE,  /* the request has failed */
    GARBAGE,  /* no message */
    GONE,     /* the connection ends */
    TOO_MUCH, /* one more message than was asked for */
    WRONGS,
};

struct peer {
    int listener, fd;
    unsigned at; /* the request with which it goes wrong */
    enum wrong wrong;
    unsigned seen;
    bool features_only; /* it has none of those that are needed */
    pthread_t thread;
};

/* The answer of a back end that is right, if there is one. */
static bool answer_of(const struct peer *p, struct vhost_msg *m)
{
    m->size = sizeof m->u64;
    switch (m->request) {
    case VHOST_GET_FEATURES:
        m->u64 = p->features_only ? 0 : UINT64_C(1) << 32 | 1u << VHOST_F_PROTOCOL_FEATURES;
        return true;
    case VHOST_GET_PROTOCOL_FEATURES:
        m->u64 = 1u << VHOST_PROTOCOL_F_MQ | 1u << VHOST_PROTOCOL_F_REPLY_ACK;
        return true;
    case VHOST_GET_QUEUE_NUM:
        m->u64 = QUEUES;
        return true;
    case VHOST_GET_VRING_BASE:
        m->state.num = 0;
        return true;
    default:
        m->u64 = 0;
        return m->flags & VHOST_FLAG_NEED_REPLY;
    }
}

static void answer_wrongly(struct peer *p, struct vhost_msg *m, bool wanted)
{
    static const uint8_t garbage[64] = "this is no message of any kind, and it is long enough";
    switch (p->wrong) {
    case SHORT:
        m->size = 4;
        break;
    case OTHER:
        m->request = 77;
        break;
    case FAILURE:
        m->u64 = UINT64_MAX;
        break;
    case GARBAGE:
        (void)!write(p->fd, garbage, sizeof garbage);
        return;
    case GONE:
        shutdown(p->fd, SHUT_RDWR);
        return;
    case TOO_MUCH:
        vhost_send(p->fd, m, NULL, 0);
        break;
    default:
        break;
    }
    if (wanted || p->wrong == TOO_MUCH)
        vhost_send(p->fd, m, NULL, 0);
}

static void *peer_run(void *ctx)
{
    struct peer *p = ctx;
    struct vhost_msg m;
    int fds[VHOST_MAX_REGIONS];
    unsigned count;
    p->fd = accept(p->listener, NULL, NULL);
    while (!vhost_receive(p->fd, &m, fds, &count)) {
        while (count)
            close(fds[--count]);
        bool wanted = answer_of(p, &m);
        m.flags = VHOST_VERSION | VHOST_FLAG_REPLY;
        if (p->seen++ == p->at && p->wrong != RIGHT)
            answer_wrongly(p, &m, wanted);
        else if (wanted)
            vhost_send(p->fd, &m, NULL, 0);
    }
    close(p->fd);
    return NULL;
}

struct world {
    char path[200];
    struct peer peer;
    struct loop *loop;
    struct addrspace *as;
    struct share *share;
    struct device *dev;
    struct vring ring;
};

static void no_line(void *ctx, unsigned input, bool level)
{
    (void)ctx;
    (void)input;
    (void)level;
}

/* Without a device if the back end is refused. */
static struct world *world_new(unsigned at, enum wrong wrong, bool features_only)
{
    struct world *w = calloc(1, sizeof *w);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error err = {0};
    char spec[300];
    snprintf(w->path, sizeof w->path, "/tmp/guise-vhost-%d", (int)getpid());
    unlink(w->path);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", w->path);
    w->peer = (struct peer){.at = at, .wrong = wrong, .features_only = features_only};
    w->peer.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->peer.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(w->peer.listener, 1), 0);
    pthread_create(&w->peer.thread, NULL, peer_run, &w->peer);
    w->loop = loop_new(&err);
    w->as = addrspace_new(&err);
    assert_int_equal(addrspace_add_ram(w->as, RAM, 1 << 20, &err), 0);
    snprintf(spec, sizeof spec, "socket=%s,tag=tag", w->path);
    w->share = share_open(spec, 0, &err);
    assert_non_null(w->share);
    const struct irq_line line = {.set = no_line};
    w->dev = virtio_fs_new(w->as, line, "share0", w->share, w->loop, &err);
    if (!w->dev) {
        assert_int_not_equal(err.code, 0);
        assert_non_null(strstr(err.msg, w->path));
    }
    if (w->dev)
        assert_int_equal(addrspace_add_mmio(w->as, DEV, 0x1000, &virtio_mmio, w->dev, &err), 0);
    return w;
}

static void world_free(struct world *w)
{
    device_free(w->dev);
    share_free(w->share);
    pthread_join(w->peer.thread, NULL);
    addrspace_free(w->as);
    loop_free(w->loop);
    close(w->peer.listener);
    unlink(w->path);
    free(w);
}

static void drive(struct world *w)
{
    vdriver_negotiate(w->as, DEV, VD_VERSION_1);
    vring_init(&w->ring, w->as, DEV, 1, 16, RAM);
    vdriver_ok(w->as, DEV);
}

static void request(struct world *w, uint64_t unique)
{
    const struct vbuf bufs[2] = {{IN, 40, false}, {OUT, 64, true}};
    addrspace_write(w->as, IN + 8, 8, unique);
    vring_add(&w->ring, bufs, 2, 0);
    vring_kick(&w->ring);
}

/* Is the request answered with an error, once the loop has seen the end? */
static bool refused(struct world *w, uint64_t unique)
{
    uint32_t id, len, error_code;
    uint64_t value;
    for (unsigned i = 0; i < 100; i++) {
        loop_run_once(w->loop, 100);
        if (!vring_used(&w->ring, &id, &len))
            continue;
        addrspace_read(w->as, OUT + 8, 8, &value);
        assert_int_equal(value, unique);
        addrspace_read(w->as, OUT, 8, &value);
        error_code = (uint32_t)(value >> 32);
        return len == 16 && (uint32_t)value == 16 && error_code == (uint32_t)-EIO;
    }
    return false;
}

/* Requests until the device is there, then until its queue is. */
enum { FIRST_OF_QUEUE = 5, LAST_OF_QUEUE = 12, BASE = 13 };

static void test_right(void **state)
{
    struct world *w = world_new(0, RIGHT, false);
    (void)state;
    assert_non_null(w->dev);
    assert_int_equal(w->peer.seen, FIRST_OF_QUEUE);
    drive(w);
    request(w, 1);
    device_reset(w->dev); /* takes the queue back */
    assert_int_equal(w->peer.seen, BASE + 1);
    world_free(w);
}

static void test_set_up(void **state)
{
    (void)state;
    for (unsigned at = 0; at < FIRST_OF_QUEUE; at++)
        for (enum wrong wrong = SHORT; wrong < WRONGS; wrong++) {
            struct world *w = world_new(at, wrong, false);
            /* Some of it is not noticed, such as fewer features, or only later. */
            if (w->dev)
                drive(w);
            world_free(w);
        }
    struct world *w = world_new(0, RIGHT, true);
    assert_null(w->dev);
    world_free(w);
}

static void test_queue(void **state)
{
    (void)state;
    for (unsigned at = FIRST_OF_QUEUE; at <= LAST_OF_QUEUE; at++)
        for (enum wrong wrong = SHORT; wrong < WRONGS; wrong++) {
            struct world *w = world_new(at, wrong, false);
            assert_non_null(w->dev);
            drive(w);
            request(w, 7);
            assert_true(refused(w, 7));
            request(w, 8);
            assert_true(refused(w, 8));
            device_reset(w->dev);
            drive(w);
            request(w, 9);
            assert_true(refused(w, 9));
            world_free(w);
        }
}

static void test_back(void **state)
{
    (void)state;
    for (enum wrong wrong = SHORT; wrong < WRONGS; wrong++) {
        struct world *w = world_new(BASE, wrong, false);
        drive(w);
        request(w, 7);
        device_reset(w->dev);
        loop_run_once(w->loop, 100);
        drive(w);
        request(w, 9);
        if (wrong != TOO_MUCH && wrong != FAILURE)
            assert_true(refused(w, 9));
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_right), cmocka_unit_test(test_set_up),
                                       cmocka_unit_test(test_queue), cmocka_unit_test(test_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
