/*
 * All devices: random traffic, save, load into fresh ones, compare; then the same further traffic
 * on both must have the same effects. And: no byte of a saved stream can harm the reader.
 */
#include "test.h"

#include "rig_test.h"
#include "state_test.h"
#include "traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

static void *make(unsigned round)
{
    (void)round;
    return rig_new();
}

static void end(void *r)
{
    rig_free(r);
}

static uint64_t step(void *r, uint64_t *random)
{
    return traffic_step(r, random);
}

static bool copy(void *a, void *b)
{
    ((struct rig *)b)->power_events = ((struct rig *)a)->power_events;
    return rig_copy(a, b);
}

static bool equal(void *a, void *b)
{
    return rig_equal(a, b);
}

static struct device **devices(void *r)
{
    return ((struct rig *)r)->all;
}

static const struct state_rig kind = {make, end, step, copy, equal, devices};

static void go_on_after_load(void **state)
{
    (void)state;
    state_goes_on_after_load(&kind, seed);
}

/* The traffic is worth something: requests succeed, fail, and interrupts arrive. */
static void traffic_reaches_the_devices(void **state)
{
    struct rig *r = *state;
    uint64_t random = 3;
    unsigned interrupts = 0, failures = 0, written = 0, network_failures = 0, erased = 0,
             programmed = 0;
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
    const uint8_t *flash = addrspace_readable(r->as, RIG_FLASH, RIG_FLASH_SIZE);
    for (unsigned i = 0; i < RIG_FLASH_SIZE; i++) {
        erased += flash[i] == 0xff;
        programmed += flash[i] && flash[i] != 0xff;
    }
    printf("%u interrupts, %u and %u failures, %u written, %u frames, %u erased, %u programmed\n",
           interrupts, failures, network_failures, written, r->network.sent, erased, programmed);
    assert_true(erased > 1000);
    assert_true(programmed > 20);
    assert_true(interrupts > 100);
    assert_true(network_failures > 100);
    assert_true(r->network.sent > 10);
    assert_true(failures > 100);
    assert_true(written > 1000);
    assert_true(r->uart_chr.total + r->console_chr.total > 1000);
}

static void hostile_streams(void **state)
{
    (void)state;
    state_survives_streams(&kind, seed);
}

int main(void)
{
    seed = rig_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(go_on_after_load),
        rig_unit_test(traffic_reaches_the_devices),
        cmocka_unit_test(hostile_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
