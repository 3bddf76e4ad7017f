/*
 * Devices over the real back ends: a disk in a raw file, and output from a vCPU's thread while the
 * event loop's thread writes it out, slower than it comes. Nothing is lost, nothing blocks for
 * ever.
 */
#include "test.h"

#include "base/bits.h"
#include "base/loop.h"
#include "block/image.h"
#include "chr/chr.h"
#include "chr/memory.h"
#include "dev/ns16550.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_console.h"
#include "dev/virtio/virtio_mmio.h"
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define UART UINT64_C(0x10000000)
#define DEV UINT64_C(0x10001000)
#define RING RAM
#define TX_RING (RAM + 0x4000)
#define OTHER_RING (RAM + 0xa000)
#define HEADER (RAM + 0x8000)
#define STATUS (RAM + 0x8100)
#define DATA (RAM + 0x10000)
#define OUTPUT 300000u /* several times what a back end buffers */

static char dir[300];

static const char *file(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int group_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(dir, sizeof dir, "%.200s/guise-dev-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(file("disk"));
    return rmdir(dir);
}

static struct addrspace *memory(void)
{
    struct addrspace *as = addrspace_new(NULL);
    assert_int_equal(addrspace_add_ram(as, RAM, 0x100000, NULL), 0);
    return as;
}

static uint64_t rd(struct addrspace *as, gpa_t gpa, unsigned size)
{
    uint64_t v = 0;
    assert_true(addrspace_read(as, gpa, size, &v));
    return v;
}

static void wr(struct addrspace *as, gpa_t gpa, unsigned size, uint64_t v)
{
    assert_true(addrspace_write(as, gpa, size, v));
}

/* ---- disk ---- */

static unsigned disk_request(struct addrspace *as, struct vring *q, uint32_t type, uint64_t sector,
                             uint32_t len, bool in)
{
    /* The data in two pieces. */
    struct vbuf bufs[4] = {{HEADER, 16, false},
                           {DATA, len / 2, in},
                           {DATA + 0x8000, len - len / 2, in},
                           {STATUS, 1, true}};
    uint32_t id, used;
    wr(as, HEADER, 8, type);
    wr(as, HEADER + 8, 8, sector);
    wr(as, STATUS, 1, 0xff);
    vring_add(q, bufs, 4, 0);
    vring_kick(q);
    while (!vring_used(q, &id, &used)) /* a thread of the disk's queue will */
        sched_yield();
    return (unsigned)rd(as, STATUS, 1);
}

static void disk_in_a_raw_file(void **state)
{
    uint8_t sector[512];
    (void)state;
    int fd = open(file("disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 64; i++) {
        memset(sector, (int)(i + 1), sizeof sector);
        assert_int_equal(write(fd, sector, sizeof sector), sizeof sector);
    }
    struct block *b = block_open(file("disk"), &(struct block_options){.format = "raw"}, NULL);
    assert_non_null(b);
    struct addrspace *as = memory();
    struct device *dev = virtio_blk_new(as, (struct irq_line){0}, "disk0", b, NULL, 1, false, NULL);
    assert_int_equal(addrspace_add_mmio(as, DEV, VIRTIO_MMIO_SIZE, &virtio_mmio, dev, NULL), 0);
    struct vring q;
    assert_int_equal(vdriver_negotiate(as, DEV, VD_VERSION_1 | 1u << 9), 11);
    vring_init(&q, as, DEV, 0, 16, RING);
    vdriver_ok(as, DEV);
    assert_int_equal(rd(as, DEV + 0x100, 8), 64);

    assert_int_equal(disk_request(as, &q, 0, 7, 1024, true), 0);
    assert_int_equal(rd(as, DATA, 1), 8);
    assert_int_equal(rd(as, DATA + 511, 1), 8);
    assert_int_equal(rd(as, DATA + 0x8000, 1), 9);
    assert_int_equal(rd(as, DATA + 0x8000 + 511, 1), 9);
    for (unsigned i = 0; i < 768; i += 8) {
        wr(as, DATA + i, 8, UINT64_C(0xabababababababab));
        wr(as, DATA + 0x8000 + i, 8, UINT64_C(0xcdcdcdcdcdcdcdcd));
    }
    assert_int_equal(disk_request(as, &q, 1, 20, 1536, false), 0);
    assert_int_equal(disk_request(as, &q, 1, 62, 1536, false), 1);
    assert_int_equal(pread(fd, sector, 512, 21 * 512), 512);
    assert_int_equal(sector[255], 0xab);
    assert_int_equal(sector[256], 0xcd);
    assert_int_equal(pread(fd, sector, 512, 23 * 512), 512);
    assert_int_equal(sector[0], 24);
    assert_int_equal(pread(fd, sector, 512, 62 * 512), 512);
    assert_int_equal(sector[0], 63);
    device_free(dev);
    addrspace_free(as);
    block_free(b);
    close(fd);
}

/* ---- requests in flight ---- */

#define UNITS 64u                /* of 4 KiB */
#define REQUESTS (RAM + 0x60000) /* header and status of each, 64 bytes apart */

struct disk {
    struct addrspace *as;
    struct block *block;
    struct device *dev;
    struct vring q, other;
};

static void disk_start(struct disk *d)
{
    assert_int_equal(vdriver_negotiate(d->as, DEV, VD_VERSION_1 | 1u << 9 | 1u << 12), 11);
    vring_init(&d->q, d->as, DEV, 0, 256, RING);
    vring_init(&d->other, d->as, DEV, 1, 256, OTHER_RING);
    vdriver_ok(d->as, DEV);
}

/* A qcow2 image, whose requests take both ways: the kernel's ring and the pool. */
static struct disk *disk_new(void)
{
    const struct block_create how = {.format = "qcow2", .size = UNITS * 4096, .cluster_size = 8192};
    struct disk *d = calloc(1, sizeof *d);
    unlink(file("disk"));
    assert_int_equal(block_create(file("disk"), &how, NULL), 0);
    d->block = block_open(file("disk"), &(struct block_options){.format = "qcow2"}, NULL);
    assert_non_null(d->block);
    d->as = memory();
    d->dev = virtio_blk_new(d->as, (struct irq_line){0}, "disk0", d->block, NULL, 2, false, NULL);
    assert_int_equal(addrspace_add_mmio(d->as, DEV, VIRTIO_MMIO_SIZE, &virtio_mmio, d->dev, NULL),
                     0);
    disk_start(d);
    return d;
}

static void disk_free(struct disk *d)
{
    device_free(d->dev);
    addrspace_free(d->as);
    block_free(d->block);
    free(d);
}

/* Offers a request for unit i, whose data is at DATA + 4096 i, on a queue. */
static void disk_offer_on(struct disk *d, struct vring *q, unsigned i, uint32_t type)
{
    gpa_t at = REQUESTS + 64 * i;
    struct vbuf bufs[3] = {
        {at, 16, false}, {DATA + 4096 * (gpa_t)i, 4096, type == 0}, {at + 16, 1, true}};
    wr(d->as, at, 8, type);
    wr(d->as, at + 8, 8, (uint64_t)i * 8);
    wr(d->as, at + 16, 1, 0xff);
    vring_add(q, bufs, 3, 0);
}

static void disk_offer(struct disk *d, unsigned i, uint32_t type)
{
    disk_offer_on(d, &d->q, i, type);
}

/* The statuses of `count` requests, which must all be S_OK. */
static void disk_collect(struct disk *d, unsigned count)
{
    uint32_t id, used;
    while (count) {
        if (!vring_used(&d->q, &id, &used)) {
            sched_yield();
            continue;
        }
        assert_int_equal(used == 1 || used == 4097, 1);
        count--;
    }
    for (unsigned i = 0; i < UNITS; i++)
        assert_int_equal(rd(d->as, REQUESTS + 64 * i + 16, 1), 0);
}

static void disk_fill(struct disk *d, unsigned round)
{
    uint8_t *data = addrspace_ram(d->as, DATA, UNITS * 4096);
    for (unsigned i = 0; i < UNITS; i++)
        memset(data + i * 4096, (int)(i + round), 4096);
}

static void many_requests_in_flight(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    uint8_t *data = addrspace_ram(d->as, DATA, UNITS * 4096);
    for (unsigned round = 1; round < 40; round++) {
        disk_fill(d, round);
        for (unsigned i = 0; i < UNITS; i++)
            disk_offer(d, i, 1);
        vring_kick(&d->q);
        disk_collect(d, UNITS);
        memset(data, 0xee, UNITS * 4096);
        for (unsigned i = 0; i < UNITS; i++) {
            disk_offer(d, i, 0);
            vring_kick(&d->q);
        }
        disk_collect(d, UNITS);
        for (unsigned i = 0; i < UNITS * 4096; i++)
            assert_int_equal(data[i], (uint8_t)(i / 4096 + round));
    }
    disk_free(d);
}

/* A request comes back on the queue that it came by, whatever the other does. */
static void two_queues(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    struct vring *queues[] = {&d->q, &d->other};
    assert_int_equal(rd(d->as, DEV + 0x100 + 34, 2), 2);
    for (unsigned round = 1; round < 20; round++) {
        unsigned done[2] = {0, 0};
        disk_fill(d, round);
        for (unsigned i = 0; i < UNITS; i++) {
            disk_offer_on(d, queues[i % 3 == 1], i, 1);
            vring_kick(queues[i % 3 == 1]);
        }
        while (done[0] + done[1] < UNITS)
            for (unsigned k = 0; k < 2; k++) {
                uint32_t id, used;
                done[k] += vring_used(queues[k], &id, &used);
            }
        assert_int_equal(done[1], UNITS / 3);
        disk_offer(d, 4, 0); /* what came by the other */
        vring_kick(&d->q);
        disk_collect(d, 1);
        assert_int_equal(rd(d->as, DATA + 4 * 4096, 1), 4 + round);
    }
    disk_free(d);
}

/* After a reset the memory is the driver's: nothing comes late. */
static void a_reset_waits_for_requests(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    uint8_t *data = addrspace_ram(d->as, DATA, UNITS * 4096);
    /* Nothing is there yet, which only the pool can say: the reads take a while. */
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < UNITS; i++)
            disk_offer(d, i, 0);
        vring_kick(&d->q);
        wr(d->as, DEV + 0x70, 4, 0);
        memset(data, 0xee, UNITS * 4096);
        assert_int_equal(rd(d->as, DEV + 0x70, 4), 0);
        disk_start(d);
        disk_offer(d, 0, 0);
        vring_kick(&d->q);
        uint32_t id, used;
        while (!vring_used(&d->q, &id, &used))
            sched_yield();
        for (unsigned i = 4096; i < UNITS * 4096; i++)
            assert_int_equal(data[i], 0xee);
    }
    disk_free(d);
}

/* What is saved has nothing in flight, and all that was asked for is done. */
static void saving_waits_for_requests(void **state)
{
    (void)state;
    struct disk *d = disk_new();
    for (unsigned round = 1; round < 50; round++) {
        struct state_out out = {0};
        uint32_t id, used;
        disk_fill(d, round);
        for (unsigned i = 0; i < UNITS; i++)
            disk_offer(d, i, 1);
        vring_kick(&d->q);
        device_save(d->dev, &out);
        for (unsigned i = 0; i < UNITS; i++)
            assert_true(vring_used(&d->q, &id, &used));
        struct state_in in = {.data = out.data, .len = out.len};
        assert_int_equal(device_load(d->dev, &in, NULL), 0);
        state_out_free(&out);
        disk_offer(d, 3, 0);
        vring_kick(&d->q);
        disk_collect(d, 1);
        assert_int_equal(rd(d->as, DATA + 3 * 4096, 1), 3 + round);
    }
    disk_free(d);
}

/* ---- output ---- */

struct machine {
    struct addrspace *as;
    struct loop *loop;
    struct chr *chr;
    struct device *dev;
    uint8_t got[OUTPUT + 1];
    size_t len;
};

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

/* The other side of the back end: takes what there is, in small pieces. */
static void collect(struct machine *m, unsigned idle_rounds)
{
    for (unsigned idle = 0; m->len < OUTPUT && idle < idle_rounds;) {
        size_t most = OUTPUT + 1 - m->len < 3000 ? OUTPUT + 1 - m->len : 3000;
        size_t n = chr_memory_take(m->chr, m->got + m->len, most);
        m->len += n;
        idle = n ? 0 : idle + 1;
        loop_run_once(m->loop, n ? 0 : 1);
    }
}

static struct machine *machine_new(void)
{
    struct machine *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->as = memory();
    m->loop = loop_new(NULL);
    m->chr = chr_memory_new(m->loop, NULL);
    assert_non_null(m->chr);
    return m;
}

static void machine_free(struct machine *m)
{
    addrspace_free(m->as);
    device_free(m->dev);
    chr_free(m->chr);
    loop_free(m->loop);
    free(m);
}

static void expect_all(const struct machine *m)
{
    assert_int_equal(m->len, OUTPUT);
    for (size_t i = 0; i < OUTPUT; i++)
        if (m->got[i] != pattern(i))
            fail_msg("byte %zu is 0x%x", i, m->got[i]);
}

/* A driver that polls LSR before each FIFO's worth. */
static void *uart_guest(void *ctx)
{
    struct machine *m = ctx;
    wr(m->as, UART + 2, 1, 1);
    for (size_t i = 0; i < OUTPUT; i++) {
        while (i % 16 == 0 && !(rd(m->as, UART + 5, 1) & 0x20))
            sched_yield();
        wr(m->as, UART, 1, pattern(i));
    }
    return NULL;
}

/* One that never looks: what waiting in the back end is for. */
static void *careless_uart_guest(void *ctx)
{
    struct machine *m = ctx;
    for (size_t i = 0; i < OUTPUT; i++)
        wr(m->as, UART, 1, pattern(i));
    return NULL;
}

static void run_uart(void *(*guest)(void *ctx), bool wait)
{
    struct machine *m = machine_new();
    pthread_t thread;
    m->dev = ns16550_new(m->chr, (struct irq_line){0}, NULL);
    assert_int_equal(addrspace_add_mmio(m->as, UART, NS16550_SIZE, &ns16550_mmio, m->dev, NULL), 0);
    chr_set_wait(m->chr, wait);
    assert_int_equal(pthread_create(&thread, NULL, guest, m), 0);
    collect(m, 20000);
    pthread_join(thread, NULL);
    expect_all(m);
    machine_free(m);
}

static void uart_with_back_pressure(void **state)
{
    (void)state;
    run_uart(uart_guest, false);
}

static void uart_that_waits(void **state)
{
    (void)state;
    run_uart(careless_uart_guest, true);
}

/* Nobody reads: the guest is stuck until the wait is switched off, then goes on and loses bytes. */
static void waiting_can_be_ended(void **state)
{
    struct machine *m = machine_new();
    pthread_t thread;
    (void)state;
    m->dev = ns16550_new(m->chr, (struct irq_line){0}, NULL);
    assert_int_equal(addrspace_add_mmio(m->as, UART, NS16550_SIZE, &ns16550_mmio, m->dev, NULL), 0);
    chr_set_wait(m->chr, true);
    assert_int_equal(pthread_create(&thread, NULL, careless_uart_guest, m), 0);
    usleep(50000);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    chr_set_wait(m->chr, false);
    pthread_join(thread, NULL);
    machine_free(m);
}

/* Keeps 8 chains of 1000 bytes on their way; all of one is its own part of the pattern. */
static void *console_guest(void *ctx)
{
    struct machine *m = ctx;
    struct vring q;
    vdriver_negotiate(m->as, DEV, VD_VERSION_1 | VD_EVENT_IDX);
    vring_init(&q, m->as, DEV, 1, 8, TX_RING);
    vdriver_ok(m->as, DEV);
    unsigned busy = 0;
    uint32_t id, len;
    for (size_t sent = 0; sent < OUTPUT || busy;) {
        while (vring_used(&q, &id, &len))
            busy--;
        if (busy == 8 || sent == OUTPUT) {
            sched_yield();
            continue;
        }
        uint8_t *p = addrspace_ram(m->as, DATA + 1000 * q.next_desc, 1000);
        for (size_t i = 0; i < 1000; i++)
            p[i] = pattern(sent + i);
        struct vbuf b = {DATA + UINT64_C(1000) * q.next_desc, 1000, false};
        vring_add(&q, &b, 1, 0);
        vring_kick(&q);
        sent += 1000;
        busy++;
    }
    return NULL;
}

static void console_with_back_pressure(void **state)
{
    struct machine *m = machine_new();
    pthread_t thread;
    (void)state;
    m->dev = virtio_console_new(m->as, (struct irq_line){0}, "console0", m->chr, NULL, 0, NULL);
    assert_int_equal(addrspace_add_mmio(m->as, DEV, VIRTIO_MMIO_SIZE, &virtio_mmio, m->dev, NULL),
                     0);
    assert_int_equal(pthread_create(&thread, NULL, console_guest, m), 0);
    collect(m, 20000);
    /* The last chains may come back after the last byte has been taken. */
    for (unsigned i = 0; i < 1000 && pthread_tryjoin_np(thread, NULL); i++)
        loop_run_once(m->loop, 1);
    expect_all(m);
    machine_free(m);
}

/* Output that waited when the state was saved comes out of the machine that loads it. */
static void waiting_output_after_a_load(void **state)
{
    struct machine *a = machine_new(), *b = machine_new();
    struct state_out out = {0};
    (void)state;
    a->dev = ns16550_new(a->chr, (struct irq_line){0}, NULL);
    b->dev = ns16550_new(b->chr, (struct irq_line){0}, NULL);
    assert_int_equal(addrspace_add_mmio(a->as, UART, NS16550_SIZE, &ns16550_mmio, a->dev, NULL), 0);
    wr(a->as, UART + 2, 1, 1);
    for (size_t i = 0; i < CHR_OUT_SIZE; i++)
        wr(a->as, UART, 1, 'x');
    for (size_t i = 0; i < 16; i++)
        wr(a->as, UART, 1, "waited for this!"[i]);
    device_save(a->dev, &out);
    struct state_in in = {.data = out.data, .len = out.len};
    assert_int_equal(device_load(b->dev, &in, NULL), 0);
    for (unsigned i = 0; i < 100; i++)
        loop_run_once(b->loop, 0);
    assert_int_equal(chr_memory_take(b->chr, b->got, sizeof b->got), 16);
    assert_memory_equal(b->got, "waited for this!", 16);
    state_out_free(&out);
    machine_free(a);
    machine_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_in_a_raw_file),
        cmocka_unit_test(many_requests_in_flight),
        cmocka_unit_test(two_queues),
        cmocka_unit_test(a_reset_waits_for_requests),
        cmocka_unit_test(saving_waits_for_requests),
        cmocka_unit_test(uart_with_back_pressure),
        cmocka_unit_test(uart_that_waits),
        cmocka_unit_test(waiting_can_be_ended),
        cmocka_unit_test(console_with_back_pressure),
        cmocka_unit_test(waiting_output_after_a_load),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
