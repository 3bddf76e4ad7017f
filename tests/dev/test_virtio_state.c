/* The devices of vrig.h, as test_dev_state.c does it for those of rig.h. */
#include "test.h"

#include "state_test.h"
#include "vrig.h"

#include <stdio.h>

static uint64_t seed;

static void *make(unsigned round)
{
    (void)round;
    return vrig_new();
}

static void end(void *r)
{
    vrig_free(r);
}

static uint64_t step(void *r, uint64_t *random)
{
    return vrig_step(r, random);
}

static bool copy(void *a, void *b)
{
    return vrig_copy(a, b);
}

static bool equal(void *a, void *b)
{
    return vrig_equal(a, b);
}

static struct device **devices(void *r)
{
    return ((struct vrig *)r)->all;
}

static const struct state_rig kind = {make, end, step, copy, equal, devices};

static void go_on_after_load(void **state)
{
    (void)state;
    state_goes_on_after_load(&kind, seed);
}

/* The traffic is worth something: each device raises its line, works and fails. */
static void traffic_reaches_the_devices(void **state)
{
    struct vrig *r = *state;
    uint64_t random = 1;
    unsigned raised[VRIG_DEVICES] = {0}, failed[VRIG_DEVICES] = {0}, live[VRIG_DEVICES] = {0};
    for (unsigned i = 0; i < 20000; i++) {
        vrig_step(r, &random);
        for (unsigned n = 0; n < VRIG_DEVICES; n++) {
            uint64_t status = 0;
            addrspace_read(r->as, VRIG_REGS(n) + 0x70, 4, &status);
            raised[n] += r->irq[n];
            failed[n] += status == (15 | 64);
            live[n] += status == 15;
        }
    }
    for (unsigned n = 0; n < VRIG_DEVICES; n++) {
        printf("%s: %u raised, %u failed, %u live\n", r->all[n]->id, raised[n], failed[n], live[n]);
        assert_true(raised[n] > 100 && failed[n] > 100 && live[n] > 1000);
    }
    assert_true(r->vsock.digest);
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
        vrig_unit_test(traffic_reaches_the_devices),
        cmocka_unit_test(hostile_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
