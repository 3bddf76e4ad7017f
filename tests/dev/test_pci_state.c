/*
 * PCI functions, the bridge, APLIC and IMSIC: random traffic, save, load into fresh ones, compare;
 * then the same further traffic on both must have the same effects. And: no byte of a saved stream
 * can harm the reader.
 */
#include "test.h"

#include "pci_driver.h"
#include "pci_traffic.h"

#define ROUNDS 150
#define STEPS 400

static uint64_t seed;

static void go_on_after_load(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t random = seed + round;
        bool msi = round % 4;
        struct pci_rig *a = pci_rig_new(msi), *b = pci_rig_new(msi);
        unsigned before = (unsigned)(rig_random(&random) % STEPS);
        for (unsigned i = 0; i < before; i++)
            pci_traffic_step(a, &random);
        /* What is loaded over must not matter. */
        uint64_t other = random ^ 1;
        for (unsigned i = 0; i < 50; i++)
            pci_traffic_step(b, &other);
        if (!pci_rig_copy(a, b) || !pci_rig_equal(a, b))
            fail_msg("round %u: not equal after the load", round);
        uint64_t ra = random, rb = random;
        for (unsigned i = 0; i < STEPS; i++)
            if (pci_traffic_step(a, &ra) != pci_traffic_step(b, &rb))
                fail_msg("round %u: step %u after the load differs", round, i);
        if (!pci_rig_equal(a, b))
            fail_msg("round %u: not equal at the end", round);
        pci_rig_free(a);
        pci_rig_free(b);
    }
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

/* Loads streams with flipped bytes and cut streams: refused or accepted, and the device lives. */
static void hostile_streams(void **state)
{
    struct pci_rig *r = pci_rig_new(true);
    uint64_t random = seed;
    (void)state;
    for (unsigned i = 0; i < STEPS; i++)
        pci_traffic_step(r, &random);
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
                pci_traffic_step(r, &random);
            out.data[at] = was;
        }
        state_out_free(&out);
    }
    pci_rig_free(r);
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
