/*
 * The socket device (virtio 1.2, section 5.10) over real Unix sockets: both ways to connect, data,
 * half-closed streams, credit, and drivers and host programs that do what they must not.
 */
#include "test.h"

#include "base/bits.h"
#include "base/loop.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_vsock.h"
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define DEV UINT64_C(0x10001000)
#define RINGS RAM
#define TX_BUFFER (RAM + 0x40000)
#define RX_BUFFERS (RAM + 0x80000)
#define RX_SIZE 4096u
#define RX_COUNT 32u
#define CID 77u

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
};

_Static_assert(sizeof(struct packet) == 48, "44 bytes of it are the header");
#define HEADER 44u

struct world {
    char directory[64], path[80];
    struct loop *loop;
    struct addrspace *as;
    struct vsock *vsock;
    struct device *dev;
    struct vring rx, tx, event;
    uint8_t data[RX_SIZE]; /* of the packet that came last */
};

static void no_line(void *ctx, unsigned input, bool level)
{
    (void)ctx;
    (void)input;
    (void)level;
}

static void add_rx(struct world *w, gpa_t at)
{
    const struct vbuf buf = {at, RX_SIZE, true};
    vring_add(&w->rx, &buf, 1, 0);
}

static void drive(struct world *w)
{
    assert_int_equal(vdriver_negotiate(w->as, DEV, VD_VERSION_1), 11);
    vring_init(&w->rx, w->as, DEV, 0, RX_COUNT, RINGS);
    vring_init(&w->tx, w->as, DEV, 1, 16, RINGS + 0x4000);
    vring_init(&w->event, w->as, DEV, 2, 4, RINGS + 0x8000);
    vdriver_ok(w->as, DEV);
    for (unsigned i = 0; i < RX_COUNT; i++)
        add_rx(w, RX_BUFFERS + i * RX_SIZE);
    vring_kick(&w->rx);
}

static void loop_on(struct world *w)
{
    for (unsigned i = 0; i < 5; i++)
        loop_run_once(w->loop, 0);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err = {0};
    const struct irq_line line = {.set = no_line};
    char spec[100];
    snprintf(w->directory, sizeof w->directory, "/tmp/guise-vsock-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    snprintf(w->path, sizeof w->path, "%s/v", w->directory);
    snprintf(spec, sizeof spec, "%s,cid=%u", w->path, CID);
    w->loop = loop_new(&err);
    w->as = addrspace_new(&err);
    assert_int_equal(addrspace_add_ram(w->as, RAM, 1 << 20, &err), 0);
    w->vsock = vsock_open(spec, w->loop, &err);
    assert_non_null(w->vsock);
    w->dev = virtio_vsock_new(w->as, line, "vsock0", w->vsock, w->loop, &err);
    assert_non_null(w->dev);
    assert_int_equal(addrspace_add_mmio(w->as, DEV, 0x1000, &virtio_mmio, w->dev, &err), 0);
    drive(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    device_free(w->dev);
    vsock_release(w->vsock);
    assert_int_equal(access(w->path, F_OK), -1);
    vsock_free(w->vsock);
    addrspace_free(w->as);
    loop_free(w->loop);
    rmdir(w->directory);
    free(w);
    return 0;
}

/* ---- the guest ---- */

static struct packet from_guest(uint32_t src_port, uint32_t dst_port, uint16_t op)
{
    return (struct packet){.src_cid = CID,
                           .dst_cid = 2,
                           .src_port = src_port,
                           .dst_port = dst_port,
                           .type = 1,
                           .op = op,
                           .buf_alloc = 1 << 20};
}

static void put_packet(struct world *w, struct packet p, uint32_t len)
{
    uint32_t id, written;
    const struct vbuf buf = {TX_BUFFER, HEADER + len, false};
    addrspace_copy_in(w->as, TX_BUFFER, &p, HEADER);
    vring_add(&w->tx, &buf, 1, 0);
    vring_kick(&w->tx);
    loop_on(w);
    vring_used(&w->tx, &id, &written);
}

/* With the bytes that are at TX_BUFFER + HEADER. */
static void put_data(struct world *w, struct packet p, uint32_t len)
{
    p.op = RW;
    p.len = len;
    put_packet(w, p, len);
}

/* The next packet for the guest; its op is 0 if there is none. */
static struct packet got(struct world *w)
{
    struct packet p = {0};
    uint32_t id, len;
    loop_on(w);
    if (!vring_used(&w->rx, &id, &len))
        return p;
    gpa_t at = RX_BUFFERS + (gpa_t)id * RX_SIZE;
    memcpy(&p, addrspace_ram(w->as, at, RX_SIZE), HEADER);
    assert_int_equal(len, HEADER + p.len);
    assert_int_equal(p.src_cid, 2);
    assert_int_equal(p.dst_cid, CID);
    memcpy(w->data, addrspace_ram(w->as, at + HEADER, p.len), p.len);
    add_rx(w, at);
    vring_kick(&w->rx);
    return p;
}

static void expect(struct world *w, uint16_t op, uint32_t src_port, uint32_t dst_port)
{
    struct packet p = got(w);
    assert_int_equal(p.op, op);
    assert_int_equal(p.src_port, src_port);
    assert_int_equal(p.dst_port, dst_port);
}

static void expect_nothing(struct world *w)
{
    assert_int_equal(got(w).op, 0);
}

/* ---- the host ---- */

static struct sockaddr_un address_of(const struct world *w, const char *behind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s%.20s", w->path, behind);
    return address;
}

static int host_connect(struct world *w, const char *line)
{
    struct sockaddr_un address = address_of(w, "");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
    loop_on(w);
    return fd;
}

/* A socket that listens at PATH_PORT; its name goes with unlisten. */
static int host_listen(struct world *w, const char *behind)
{
    struct sockaddr_un address = address_of(w, behind);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void unlisten(struct world *w, const char *behind, int fd)
{
    struct sockaddr_un address = address_of(w, behind);
    unlink(address.sun_path);
    close(fd);
}

static void expect_host(int fd, const char *text)
{
    char buf[64] = "";
    ssize_t n = recv(fd, buf, sizeof buf - 1, MSG_DONTWAIT);
    assert_int_equal(n, strlen(text));
    assert_string_equal(buf, text);
}

static void expect_host_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

/* A connection from the host to the guest's port 1234, open on both sides. */
static int host_to_guest(struct world *w, uint32_t *host_port)
{
    char ok[32];
    int fd = host_connect(w, "CONNECT 1234\n");
    struct packet p = got(w);
    assert_int_equal(p.op, REQUEST);
    assert_int_equal(p.dst_port, 1234);
    *host_port = p.src_port;
    put_packet(w, from_guest(1234, p.src_port, RESPONSE), 0);
    snprintf(ok, sizeof ok, "OK %u\n", p.src_port);
    expect_host(fd, ok);
    return fd;
}

/* ---- tests ---- */

static void host_connects(void **state)
{
    struct world *w = *state;
    uint32_t port;
    int fd = host_to_guest(w, &port);
    assert_int_equal(write(fd, "hello", 5), 5);
    struct packet p = got(w);
    assert_int_equal(p.op, RW);
    assert_int_equal(p.len, 5);
    assert_memory_equal(w->data, "hello", 5);
    addrspace_copy_in(w->as, TX_BUFFER + HEADER, "world", 5);
    put_data(w, from_guest(1234, port, RW), 5);
    expect_host(fd, "world");
    close(fd);
    p = got(w);
    assert_int_equal(p.op, SHUTDOWN);
    assert_int_equal(p.flags, 2);
    p = from_guest(1234, port, SHUTDOWN);
    p.flags = 3;
    put_packet(w, p, 0);
    expect(w, RST, port, 1234);
    expect_nothing(w);
}

static void guest_connects(void **state)
{
    struct world *w = *state;
    int listener = host_listen(w, "_99");
    put_packet(w, from_guest(5000, 99, REQUEST), 0);
    expect(w, RESPONSE, 99, 5000);
    int fd = accept(listener, NULL, NULL);
    addrspace_copy_in(w->as, TX_BUFFER + HEADER, "one", 3);
    put_data(w, from_guest(5000, 99, RW), 3);
    expect_host(fd, "one");
    /* The guest says that it is done; what comes from the host still reaches it. */
    struct packet p = from_guest(5000, 99, SHUTDOWN);
    p.flags = 2;
    put_packet(w, p, 0);
    expect_host_end(fd);
    assert_int_equal(write(fd, "two", 3), 3);
    p = got(w);
    assert_int_equal(p.op, RW);
    assert_memory_equal(w->data, "two", 3);
    put_packet(w, from_guest(5000, 99, RST), 0);
    expect_nothing(w);
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    close(fd);
    unlisten(w, "_99", listener);
}

static void nobody_there(void **state)
{
    struct world *w = *state;
    put_packet(w, from_guest(5000, 98, REQUEST), 0);
    expect(w, RST, 98, 5000);
    int fd = host_connect(w, "CONNECT 7\n");
    struct packet p = got(w);
    put_packet(w, from_guest(7, p.src_port, RST), 0);
    expect_host_end(fd);
    close(fd);
    expect_nothing(w);
}

static void wrong_requests(void **state)
{
    static const char *const lines[] = {
        "HELLO 1\n",       "CONNECT\n",
        "CONNECT x\n",     "CONNECT 4294967295\n",
        "CONNECT -1\n",    "CONNECT 99999999999999999999\n",
        "CONNECT 12 13\n", "CONNECT 00000000000000000000000000001\n"};
    struct world *w = *state;
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        int fd = host_connect(w, lines[i]);
        char byte;
        assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
        assert_int_not_equal(errno, EAGAIN);
        errno = 0;
        close(fd);
    }
    expect_nothing(w);
    device_reset(w->dev); /* no driver: nobody can be asked */
    int fd = host_connect(w, "CONNECT 7\n");
    expect_host_end(fd);
    close(fd);
}

static void credit(void **state)
{
    struct world *w = *state;
    uint32_t port, sent = 0, told = 0;
    int fd = host_to_guest(w, &port), small = 4096;
    /* Until the socket and what the device keeps for it are full, and not a byte more. */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct packet p;
    for (unsigned i = 0; i < 4096; i++) {
        put_data(w, from_guest(1234, port, RW), 1024);
        sent += 1024;
        p = got(w);
        if (p.op == RST)
            break;
        told = p.op == CREDIT_UPDATE ? p.fwd_cnt : told;
    }
    assert_int_equal(p.op, RST);
    assert_true(sent >= told + 262144);
    close(fd);
}

static void guest_has_little_room(void **state)
{
    struct world *w = *state;
    char data[600] = "";
    int fd = host_connect(w, "CONNECT 1234\n");
    uint32_t port = got(w).src_port;
    struct packet p = from_guest(1234, port, RESPONSE);
    p.buf_alloc = 100;
    put_packet(w, p, 0);
    assert_int_equal(write(fd, data, sizeof data), sizeof data);
    assert_int_equal(got(w).len, 100);
    expect_nothing(w);
    p.op = CREDIT_UPDATE;
    p.fwd_cnt = 40;
    put_packet(w, p, 0);
    assert_int_equal(got(w).len, 40);
    p.buf_alloc = 5000;
    put_packet(w, p, 0);
    assert_int_equal(got(w).len, 460);
    p.op = CREDIT_REQUEST;
    put_packet(w, p, 0);
    p = got(w);
    assert_int_equal(p.op, CREDIT_UPDATE);
    assert_int_equal(p.buf_alloc, 262144);
    close(fd);
}

static void wrong_packets(void **state)
{
    struct world *w = *state;
    put_packet(w, from_guest(1, 2, RW), 0); /* of no connection */
    expect(w, RST, 2, 1);
    put_packet(w, from_guest(1, 2, RST), 0);
    expect_nothing(w);
    struct packet p = from_guest(1, 2, REQUEST);
    p.type = 2;
    put_packet(w, p, 0);
    expect(w, RST, 2, 1);
    p = from_guest(1, 2, REQUEST);
    p.dst_cid = 9;
    put_packet(w, p, 0);
    expect(w, RST, 2, 1);
    p.src_cid = 9;
    put_packet(w, p, 0);
    expect_nothing(w);
    uint32_t port;
    int fd = host_to_guest(w, &port);
    put_packet(w, from_guest(1234, port, 99), 0);
    expect(w, RST, port, 1234);
    expect_host_end(fd);
    close(fd);
}

static void reset_closes(void **state)
{
    struct world *w = *state;
    uint32_t port;
    int fd = host_to_guest(w, &port);
    device_reset(w->dev);
    loop_on(w);
    expect_host_end(fd);
    close(fd);
    drive(w);
    fd = host_to_guest(w, &port);
    close(fd);
}

static void continued_machine(void **state)
{
    struct world *w = *state;
    uint32_t port, id, len;
    uint64_t value = 1;
    const struct vbuf event = {TX_BUFFER, 4, true};
    int fd = host_to_guest(w, &port);
    vring_add(&w->event, &event, 1, 0);
    vring_kick(&w->event);
    loop_on(w);
    assert_false(vring_used(&w->event, &id, &len));
    struct state_out out = {0};
    device_save(w->dev, &out);
    struct state_in in = {.data = out.data, .len = out.len};
    addrspace_write(w->as, TX_BUFFER, 4, 99);
    assert_int_equal(device_load(w->dev, &in, NULL), 0);
    loop_on(w);
    assert_true(vring_used(&w->event, &id, &len));
    assert_int_equal(len, 4);
    addrspace_read(w->as, TX_BUFFER, 4, &value);
    assert_int_equal(value, 0); /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
    expect_host_end(fd);
    close(fd);
    state_out_free(&out);
}

static void texts(void **state)
{
    static const char *const wrong[] = {"",        ",cid=3",  "v,cid=2", "v,cid=4294967295",
                                        "v,cid=x", "v,cid=-3"};
    struct world *w = *state;
    struct error err = {0};
    char text[200];
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(vsock_check(wrong[i], &err), -EINVAL);
    memset(text, 'x', 100);
    text[100] = 0;
    assert_int_equal(vsock_check(text, &err), -EINVAL);
    text[90] = 0;
    assert_int_equal(vsock_check(text, &err), 0);
    /* Somebody listens there; then nobody does, and the name has been left. */
    assert_null(vsock_open(w->path, w->loop, &err));
    assert_int_equal(err.code, EADDRINUSE);
    int left = host_listen(w, "_left");
    close(left);
    snprintf(text, sizeof text, "%s_left", w->path);
    struct vsock *v = vsock_open(text, w->loop, &err);
    assert_non_null(v);
    assert_int_equal(vsock_cid(v), VSOCK_CID_DEFAULT);
    vsock_release(v);
    vsock_free(v);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(host_connects), TEST(guest_connects),        TEST(nobody_there),  TEST(wrong_requests),
        TEST(credit),        TEST(guest_has_little_room), TEST(wrong_packets), TEST(reset_closes),
        TEST(texts),         TEST(continued_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
