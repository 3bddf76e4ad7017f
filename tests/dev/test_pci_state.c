/*
 * PCI functions, the bridge, APLIC and IMSIC: random traffic, save, load into fresh ones, compare;
 * then the same further traffic on both must have the same effects. And: no byte of a saved stream
 * can harm the reader.
 */
#include "test.h"

#include "pci_driver.h"
#include "pci_traffic.h"
#include "state_test.h"

static uint64_t seed;

static void *make(unsigned round)
{
    return pci_rig_new(round % 4);
}

static void end(void *r)
{
    pci_rig_free(r);
}

static uint64_t step(void *r, uint64_t *random)
{
    return pci_traffic_step(r, random);
}

static bool copy(void *a, void *b)
{
    return pci_rig_copy(a, b);
}

static bool equal(void *a, void *b)
{
    return pci_rig_equal(a, b);
}

static struct device **devices(void *r)
{
    return ((struct pci_rig *)r)->all;
}

static const struct state_rig kind = {make, end, step, copy, equal, devices};

static void go_on_after_load(void **state)
{
    (void)state;
    state_goes_on_after_load(&kind, seed);
}

/* The traffic is worth something: interrupts of all files arrive, devices run and fail. */
static void traffic_reaches_the_devices(void **state)
{
    struct pci_rig *r = pci_rig_new(true);
    uint64_t random = 1;
    unsigned interrupts[IMSIC_LEVELS * PRIG_HARTS] = {0}, running = 0, failed = 0;
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t status = 0;
        pci_traffic_step(r, &random);
        for (unsigned k = 0; k < IMSIC_LEVELS * PRIG_HARTS; k++)
            interrupts[k] += r->external[k];
        addrspace_read(r->as, PRIG_HIGH + PD_STATUS, 1, &status);
        running += status == 15;
        failed += status == (15 | 64);
    }
    for (unsigned k = 0; k < IMSIC_LEVELS * PRIG_HARTS; k++)
        assert_true(interrupts[k] > 20);
    assert_true(running > 100);
    assert_true(failed > 20);
    pci_rig_free(r);
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
        cmocka_unit_test(traffic_reaches_the_devices),
        cmocka_unit_test(hostile_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
