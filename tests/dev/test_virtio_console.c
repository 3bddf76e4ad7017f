/* The virtio console (virtio 1.2, section 5.3). */
#include "test.h"

#include "driver.h"
#include "rig_test.h"

#define RX_RING (RIG_RAM + 0x10000)
#define TX_RING (RIG_RAM + 0x14000)
#define BUF (RIG_RAM + 0x40000)

static void start(struct rig *r, struct vring *rx, struct vring *tx)
{
    assert_int_equal(vdriver_negotiate(r->as, RIG_CONSOLE, VD_VERSION_1), 11);
    vring_init(rx, r->as, RIG_CONSOLE, 0, 8, RX_RING);
    vring_init(tx, r->as, RIG_CONSOLE, 1, 8, TX_RING);
    vdriver_ok(r->as, RIG_CONSOLE);
}

static void expect_used(struct vring *q, uint32_t want_id, uint32_t want_len)
{
    uint32_t id, len;
    assert_true(vring_used(q, &id, &len));
    assert_int_equal(id, want_id);
    assert_int_equal(len, want_len);
}

static void output(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    start(r, &rx, &tx);
    addrspace_copy_in(r->as, BUF, "hello, world", 12);
    struct vbuf bufs[2] = {{BUF, 7, false}, {BUF + 7, 5, false}};
    vring_add(&tx, bufs, 2, 0);
    vring_kick(&tx);
    expect_used(&tx, 0, 0);
    assert_int_equal(r->console_chr.out_len, 12);
    assert_memory_equal(r->console_chr.out, "hello, world", 12);
}

static void output_waits_for_room(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    uint32_t id, len;
    start(r, &rx, &tx);
    r->console_chr.room = 9;
    addrspace_copy_in(r->as, BUF, "hello, world, again", 19);
    struct vbuf bufs[3] = {{BUF, 7, false}, {BUF + 7, 5, false}, {BUF + 12, 7, false}};
    vring_add(&tx, bufs, 2, 0);
    vring_add(&tx, bufs + 2, 1, 0);
    vring_kick(&tx);
    assert_false(vring_used(&tx, &id, &len));
    assert_int_equal(r->console_chr.out_len, 9);
    fake_chr_give_room(&r->console_chr, 1);
    assert_int_equal(r->console_chr.out_len, 10);
    fake_chr_give_room(&r->console_chr, 4);
    expect_used(&tx, 0, 0);
    assert_false(vring_used(&tx, &id, &len));
    fake_chr_give_room(&r->console_chr, SIZE_MAX);
    expect_used(&tx, 2, 0);
    assert_int_equal(r->console_chr.out_len, 19);
    assert_memory_equal(r->console_chr.out, "hello, world, again", 19);
}

static void input(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    assert_int_equal(fake_chr_input(&r->console_chr, "x", 1), 0); /* nobody listens yet */
    start(r, &rx, &tx);
    assert_int_equal(fake_chr_input(&r->console_chr, "x", 1), 0); /* no buffer */
    struct vbuf bufs[2] = {{BUF, 3, true}, {BUF + 0x100, 2, true}};
    unsigned accepts = r->console_chr.accepts;
    vring_add(&rx, bufs, 2, 0);
    vring_add(&rx, bufs, 1, 0);
    vring_kick(&rx);
    assert_int_equal(r->console_chr.accepts, accepts + 1);
    assert_int_equal(fake_chr_input(&r->console_chr, "ab", 2), 2);
    expect_used(&rx, 0, 2);
    assert_int_equal(rig_read(r, BUF, 2), 0x6261);
    assert_int_equal(rig_read(r, RIG_CONSOLE + 0x60, 4), 1);
    assert_int_equal(fake_chr_input(&r->console_chr, "cdefg", 5), 3);
    expect_used(&rx, 2, 3);
    vring_add(&rx, bufs, 2, 0);
    assert_int_equal(fake_chr_input(&r->console_chr, "vwxyz", 5), 5);
    expect_used(&rx, 3, 5);
    assert_int_equal(rig_read(r, BUF + 0x100, 2), 0x7a79);
}

static void a_buffer_that_cannot_be_filled(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    start(r, &rx, &tx);
    struct vbuf b = {BUF, 8, false};
    vring_add(&rx, &b, 1, 0);
    assert_int_equal(fake_chr_input(&r->console_chr, "a", 1), 0);
    assert_int_equal(rig_read(r, RIG_CONSOLE + 0x70, 4), 15 | 64);
}

static void emergency_write(void **state)
{
    struct rig *r = *state;
    rig_write(r, RIG_CONSOLE + 0x108, 4, '!');
    rig_write(r, RIG_CONSOLE + 0x104, 4, '?');
    assert_int_equal(r->console_chr.out_len, 1);
    assert_int_equal(r->console_chr.out[0], '!');
    assert_int_equal(rig_read(r, RIG_CONSOLE + 0x104, 4), 1); /* one port */
}

static void reset_forgets_half_sent_output(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    start(r, &rx, &tx);
    addrspace_copy_in(r->as, BUF, "0123456789", 10);
    struct vbuf b = {BUF, 10, false};
    r->console_chr.room = 4;
    vring_add(&tx, &b, 1, 0);
    vring_kick(&tx);
    start(r, &rx, &tx);
    fake_chr_give_room(&r->console_chr, SIZE_MAX);
    vring_add(&tx, &b, 1, 0);
    vring_kick(&tx);
    assert_int_equal(r->console_chr.out_len, 14);
    assert_memory_equal(r->console_chr.out, "01230123456789", 14);
}

static void waiting_output_survives_a_load(void **state)
{
    struct rig *r = *state;
    struct rig *other = rig_new();
    struct vring rx, tx;
    start(r, &rx, &tx);
    addrspace_copy_in(r->as, BUF, "0123456789", 10);
    struct vbuf b = {BUF, 10, false};
    r->console_chr.room = 4;
    vring_add(&tx, &b, 1, 0);
    vring_kick(&tx);
    assert_true(rig_copy(r, other));
    assert_true(rig_equal(r, other));
    assert_int_equal(other->console_chr.asks, 1);
    fake_chr_give_room(&other->console_chr, SIZE_MAX);
    assert_int_equal(other->console_chr.out_len, 10);
    assert_memory_equal(other->console_chr.out, "0123456789", 10);
    tx.as = other->as;
    expect_used(&tx, 0, 0);
    rig_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(output),
        rig_unit_test(output_waits_for_room),
        rig_unit_test(input),
        rig_unit_test(a_buffer_that_cannot_be_filled),
        rig_unit_test(emergency_write),
        rig_unit_test(reset_forgets_half_sent_output),
        rig_unit_test(waiting_output_survives_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
