/* The virtio block device (virtio 1.2, section 5.2), request by request. */
#include "test.h"

#include "base/bits.h"
#include "driver.h"
#include "rig_test.h"

#include <errno.h>

#define RING (RIG_RAM + 0x10000)
#define HEADER (RIG_RAM + 0x40000)
#define STATUS (RIG_RAM + 0x40100)
#define DATA (RIG_RAM + 0x50000)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define F_FLUSH (UINT64_C(1) << 9)
#define F_DISCARD (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)
#define ALL_FEATURES \
    (VD_VERSION_1 | VD_INDIRECT_DESC | VD_EVENT_IDX | F_FLUSH | F_DISCARD | F_WRITE_ZEROES)

static struct vring start_with(struct rig *r, gpa_t dev, uint64_t features)
{
    struct vring q;
    assert_int_equal(vdriver_negotiate(r->as, dev, features), 11);
    vring_init(&q, r->as, dev, 0, 64, RING);
    vdriver_ok(r->as, dev);
    return q;
}

static struct vring start(struct rig *r)
{
    return start_with(r, RIG_BLK, ALL_FEATURES);
}

/* A request whose data lies at DATA in one piece; returns the status, *used the length returned. */
static unsigned request(struct rig *r, struct vring *q, uint32_t type, uint64_t sector,
                        uint32_t len, bool in, uint32_t *used)
{
    struct vbuf bufs[3] = {{HEADER, 16, false}, {DATA, len, in}, {STATUS, 1, true}};
    uint32_t id;
    rig_write(r, HEADER, 4, type);
    rig_write(r, HEADER + 4, 4, 0);
    rig_write(r, HEADER + 8, 8, sector);
    rig_write(r, STATUS, 1, 0xee);
    if (!len)
        bufs[1] = bufs[2];
    vring_add(q, bufs, len ? 3 : 2, 0);
    vring_kick(q);
    assert_true(vring_used(q, &id, used));
    return (unsigned)rig_read(r, STATUS, 1);
}

static void config_space(void **state)
{
    struct rig *r = *state;
    gpa_t c = RIG_BLK + 0x100;
    assert_int_equal(rig_read(r, c, 4), 128);
    assert_int_equal(rig_read(r, c + 4, 4), 0);
    assert_int_equal(rig_read(r, c, 8), 128);
    assert_int_equal(rig_read(r, c, 1), 128);
    assert_int_equal(rig_read(r, c + 8, 4), 1 << 20); /* size_max */
    assert_int_equal(rig_read(r, c + 12, 4), 254);    /* seg_max */
    assert_int_equal(rig_read(r, c + 20, 4), 512);    /* blk_size */
    assert_int_equal(rig_read(r, c + 24, 1), 3);      /* 4096-byte physical blocks */
    assert_int_equal(rig_read(r, c + 36, 4), 1 << 22);
    assert_int_equal(rig_read(r, c + 48, 4), 1 << 16);
    assert_int_equal(rig_read(r, c + 64, 4), 0);
    assert_int_equal(rig_read(r, c + 0xef8, 8), 0);
    rig_write(r, c, 4, 1);
    assert_int_equal(rig_read(r, c, 4), 128);
}

static void read_and_write(void **state)
{
    struct rig *r = *state;
    struct vring q = start(r);
    uint32_t used;
    uint8_t *data = addrspace_ram(r->as, DATA, 4096);
    assert_int_equal(request(r, &q, T_IN, 3, 1024, true, &used), S_OK);
    assert_int_equal(used, 1025);
    assert_memory_equal(data, r->disk.data + 3 * 512, 1024);
    memset(data, 0x77, 1536);
    assert_int_equal(request(r, &q, T_OUT, 125, 1536, false, &used), S_OK);
    assert_int_equal(used, 1);
    for (unsigned i = 0; i < 1536; i++)
        assert_int_equal(r->disk.data[125 * 512 + i], 0x77);
    assert_int_equal(r->disk.data[125 * 512 - 1], (uint8_t)(124 + 125 * 512 - 1));
    assert_int_equal(r->disk.flushes, 0);
    assert_int_equal(request(r, &q, T_FLUSH, 0, 0, false, &used), S_OK);
    assert_int_equal(used, 1);
    assert_int_equal(r->disk.flushes, 1);
    assert_int_equal(request(r, &q, T_IN, 128, 0, true, &used), S_OK);
}

static void any_layout(void **state)
{
    struct rig *r = *state;
    struct vring q = start(r);
    uint32_t id, used;
    rig_write(r, HEADER, 8, T_IN);
    rig_write(r, HEADER + 8, 8, 1);
    /* Header in three pieces, data in two, status at the end of the second. */
    struct vbuf bufs[5] = {{HEADER, 3, false},
                           {HEADER + 3, 12, false},
                           {HEADER + 15, 1, false},
                           {DATA, 100, true},
                           {DATA + 0x1000, 413, true}};
    rig_write(r, DATA + 0x1000 + 412, 1, 0xee);
    vring_add(&q, bufs, 5, DATA + 0x2000);
    vring_kick(&q);
    assert_true(vring_used(&q, &id, &used));
    assert_int_equal(used, 513);
    const uint8_t *a = addrspace_ram(r->as, DATA, 100);
    const uint8_t *b = addrspace_ram(r->as, DATA + 0x1000, 413);
    assert_memory_equal(a, r->disk.data + 512, 100);
    assert_memory_equal(b, r->disk.data + 612, 412);
    assert_int_equal(b[412], S_OK);
    /* Header and data of a write in one buffer. */
    rig_write(r, DATA, 8, T_OUT);
    rig_write(r, DATA + 8, 8, 2);
    uint8_t *w = addrspace_ram(r->as, DATA + 16, 512);
    memset(w, 0x31, 512);
    struct vbuf out[2] = {{DATA, 528, false}, {STATUS, 1, true}};
    vring_add(&q, out, 2, 0);
    vring_kick(&q);
    assert_int_equal(rig_read(r, STATUS, 1), S_OK);
    assert_int_equal(r->disk.data[1024], 0x31);
    assert_int_equal(r->disk.data[1535], 0x31);
    assert_int_equal(r->disk.data[1536], (uint8_t)(3 + 1536));
}

static void ranges_are_checked(void **state)
{
    struct rig *r = *state;
    struct vring q = start(r);
    uint32_t used;
    assert_int_equal(request(r, &q, T_IN, 127, 512, true, &used), S_OK);
    assert_int_equal(request(r, &q, T_IN, 127, 1024, true, &used), S_IOERR);
    assert_int_equal(used, 0);
    assert_int_equal(request(r, &q, T_IN, 128, 512, true, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_IN, UINT64_MAX, 512, true, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_IN, UINT64_C(1) << 55, 512, true, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_OUT, UINT64_MAX / 512 + 1, 512, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_OUT, 128, 512, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_IN, 0, 511, true, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_OUT, 0, 513, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, 2, 0, 512, true, &used), S_UNSUPP);
    assert_int_equal(request(r, &q, 0x80000000, 0, 512, true, &used), S_UNSUPP);
    assert_int_equal(rig_read(r, RIG_BLK + 0x70, 4), 15);
}

static void host_errors(void **state)
{
    struct rig *r = *state;
    struct vring q = start(r);
    uint32_t used;
    r->disk.fail = EIO;
    assert_int_equal(request(r, &q, T_IN, 0, 512, true, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_OUT, 0, 512, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_FLUSH, 0, 0, false, &used), S_IOERR);
    r->disk.fail = 0;
    assert_int_equal(request(r, &q, T_OUT, 0, 512, false, &used), S_OK);
}

static void writes_are_durable_without_flush(void **state)
{
    struct rig *r = *state;
    struct vring q = start_with(r, RIG_BLK, VD_VERSION_1);
    uint32_t used;
    assert_int_equal(request(r, &q, T_OUT, 0, 512, false, &used), S_OK);
    assert_int_equal(r->disk.flushes, 1);
    assert_int_equal(request(r, &q, T_IN, 0, 512, true, &used), S_OK);
    assert_int_equal(r->disk.flushes, 1);
}

static void readonly_disk(void **state)
{
    struct rig *r = *state;
    struct vring q = start_with(r, RIG_RO_BLK, VD_VERSION_1 | 1u << 5 | F_FLUSH);
    uint32_t used;
    assert_int_equal(request(r, &q, T_IN, 1, 512, true, &used), S_OK);
    assert_int_equal(request(r, &q, T_OUT, 1, 512, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 16, false, &used), S_UNSUPP);
    assert_int_equal(rig_read(r, RIG_RO_BLK + 0x100 + 36, 4), 0);
    assert_int_equal(r->ro_disk.data[512], (uint8_t)(1 + 512));
}

static void identification(void **state)
{
    struct rig *r = *state;
    struct vring q = start(r);
    uint32_t used;
    char *data = addrspace_ram(r->as, DATA, 32);
    memset(data, 'x', 32);
    assert_int_equal(request(r, &q, T_GET_ID, 0, 20, true, &used), S_OK);
    assert_int_equal(used, 21);
    assert_memory_equal(data, "serial-0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    assert_int_equal(data[20], 'x');
    assert_int_equal(request(r, &q, T_GET_ID, 0, 30, true, &used), S_OK);
    assert_int_equal(used, 20);
}

static void range(struct rig *r, unsigned i, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    rig_write(r, DATA + 16 * i, 8, sector);
    rig_write(r, DATA + 16 * i + 8, 4, sectors);
    rig_write(r, DATA + 16 * i + 12, 4, flags);
}

static void discard_and_write_zeroes(void **state)
{
    struct rig *r = *state;
    struct vring q = start(r);
    uint32_t used;
    range(r, 0, 4, 2, 0);
    range(r, 1, 10, 1, 0);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 32, false, &used), S_OK);
    assert_int_equal(r->disk.discards, 2);
    assert_int_equal(r->disk.data[10 * 512], 0xdd);
    range(r, 0, 4, 2, 1);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 16, false, &used), S_UNSUPP);
    assert_int_equal(request(r, &q, T_WRITE_ZEROES, 0, 16, false, &used), S_OK);
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(r->disk.data[4 * 512 + i], 0);
    assert_int_equal(r->disk.data[6 * 512 + 1], (uint8_t)(6 + 6 * 512 + 1));
    range(r, 0, 4, 2, 2);
    assert_int_equal(request(r, &q, T_WRITE_ZEROES, 0, 16, false, &used), S_UNSUPP);
    range(r, 0, 127, 2, 0);
    assert_int_equal(request(r, &q, T_WRITE_ZEROES, 0, 16, false, &used), S_IOERR);
    range(r, 0, UINT64_MAX, 1, 0);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 16, false, &used), S_IOERR);
    range(r, 0, 0, UINT32_MAX, 0);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 16, false, &used), S_IOERR);
    range(r, 0, 0, 1, 0);
    assert_int_equal(request(r, &q, T_WRITE_ZEROES, 0, 32, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 17 * 16, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 15, false, &used), S_IOERR);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 0, false, &used), S_IOERR);
    q = start_with(r, RIG_BLK, VD_VERSION_1);
    assert_int_equal(request(r, &q, T_DISCARD, 0, 16, false, &used), S_UNSUPP);
    assert_int_equal(request(r, &q, T_WRITE_ZEROES, 0, 16, false, &used), S_UNSUPP);
}

static void requests_that_are_none(void **state)
{
    struct rig *r = *state;
    const struct vbuf cases[3][2] = {
        {{HEADER, 15, false}, {STATUS, 1, true}},  /* short header */
        {{HEADER, 16, false}, {STATUS, 1, false}}, /* no place for the status */
        {{HEADER, 16, true}, {STATUS, 1, true}},   /* no header */
    };
    for (unsigned i = 0; i < 3; i++) {
        struct vring q = start(r);
        uint32_t id, used;
        vring_add(&q, cases[i], 2, 0);
        vring_kick(&q);
        assert_false(vring_used(&q, &id, &used));
        assert_int_equal(rig_read(r, RIG_BLK + 0x70, 4), 15 | 64);
        assert_int_equal(rig_read(r, RIG_BLK + 0x60, 4), 2);
    }
}

static void state_wants_the_same_disk(void **state)
{
    struct rig *r = *state;
    struct state_out out = {0};
    struct error err = {0};
    device_save(r->blk, &out);
    struct state_in in = {.data = out.data, .len = out.len};
    /* The capacity is the last field: its 8 bytes end the stream. */
    out.data[out.len - 8] ^= 1;
    assert_int_equal(device_load(r->blk, &in, &err), -EINVAL);
    assert_string_equal(err.msg, "disk0: the disk has 128 sectors, the saved state had 129");
    state_out_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(config_space),
        rig_unit_test(read_and_write),
        rig_unit_test(any_layout),
        rig_unit_test(ranges_are_checked),
        rig_unit_test(host_errors),
        rig_unit_test(writes_are_durable_without_flush),
        rig_unit_test(readonly_disk),
        rig_unit_test(identification),
        rig_unit_test(discard_and_write_zeroes),
        rig_unit_test(requests_that_are_none),
        rig_unit_test(state_wants_the_same_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
