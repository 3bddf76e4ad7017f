/*
 * All devices: random traffic, save, load into fresh ones, compare; then the same further traffic
 * on both must have the same effects. And: no byte of a saved stream can harm the reader.
 */
#include "test.h"

#include "rig_test.h"
#include "traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 150
#define STEPS 400

static uint64_t seed;

static void go_on_after_load(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t random = seed + round;
        struct rig *a = rig_new();
        struct rig *b = rig_new();
        unsigned before = (unsigned)(rig_random(&random) % STEPS);
        for (unsigned i = 0; i < before; i++)
            traffic_step(a, &random);
        /* What is loaded over must not matter. */
        uint64_t other = random ^ 1;
        for (unsigned i = 0; i < 50; i++)
            traffic_step(b, &other);
        b->power_events = a->power_events;
        if (!rig_copy(a, b) || !rig_equal(a, b))
            fail_msg("round %u: not equal after the load", round);
        uint64_t ra = random, rb = random;
        for (unsigned i = 0; i < STEPS; i++)
            if (traffic_step(a, &ra) != traffic_step(b, &rb))
                fail_msg("round %u: step %u after the load differs", round, i);
        if (!rig_equal(a, b))
            fail_msg("round %u: not equal at the end", round);
        rig_free(a);
        rig_free(b);
    }
}

/* The traffic is worth something: requests succeed, fail, and interrupts arrive. */
static void traffic_reaches_the_devices(void **state)
{
    struct rig *r = *state;
    uint64_t random = 1;
    unsigned interrupts = 0, failures = 0, written = 0, network_failures = 0;
    struct fake_block *first = malloc(sizeof *first);
    assert_non_null(first);
    *first = r->disk;
    for (unsigned i = 0; i < 20000; i++) {
        traffic_step(r, &random);
        interrupts += r->eip[0] | r->eip[1] | r->eip[2] | r->eip[3];
        failures += rig_read(r, RIG_BLK + 0x70, 4) == (15 | 64);
        network_failures += rig_read(r, RIG_NET + 0x70, 4) == (15 | 64);
    }
    for (unsigned i = 0; i < RIG_DISK_SIZE; i++)
        written += r->disk.data[i] != first->data[i];
    free(first);
    printf("%u interrupts, %u and %u failures, %u written, %u frames\n", interrupts, failures,
           network_failures, written, r->network.sent);
    assert_true(interrupts > 100);
    assert_true(network_failures > 100);
    assert_true(r->network.sent > 10);
    assert_true(failures > 100);
    assert_true(written > 1000);
    assert_true(r->uart_chr.out_len + r->console_chr.out_len > 1000);
}

/* Loads streams with flipped bytes and cut streams: refused or accepted, and the device lives. */
static void hostile_streams(void **state)
{
    struct rig *r = *state;
    uint64_t random = seed;
    for (unsigned i = 0; i < STEPS; i++)
        traffic_step(r, &random);
    for (unsigned d = 0; r->all[d]; d++) {
        struct state_out out = {0};
        device_save(r->all[d], &out);
        for (unsigned i = 0; i < 400; i++) {
            size_t at = rig_random(&random) % out.len;
            uint8_t was = out.data[at];
            out.data[at] = (uint8_t)rig_random(&random);
            struct state_in in = {
                .data = out.data,
                .len = i % 4 ? out.len : rig_random(&random) % out.len,
            };
            device_load(r->all[d], &in, NULL);
            for (unsigned k = 0; k < 5; k++)
                traffic_step(r, &random);
            out.data[at] = was;
        }
        state_out_free(&out);
    }
}

int main(void)
{
    seed = rig_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(go_on_after_load),
        rig_unit_test(traffic_reaches_the_devices),
        rig_unit_test(hostile_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
