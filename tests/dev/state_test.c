#include "state_test.h"

#include "test.h"

#include "rig.h"

#define ROUNDS 150
#define STEPS 400

static void some_traffic(const struct state_rig *kind, void *r, uint64_t random, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++)
        kind->step(r, &random);
}

static void same_traffic(const struct state_rig *kind, void *a, void *b, uint64_t random,
                         unsigned round)
{
    uint64_t ra = random, rb = random;
    for (unsigned i = 0; i < STEPS; i++)
        if (kind->step(a, &ra) != kind->step(b, &rb))
            fail_msg("round %u: step %u after the load differs", round, i);
    if (!kind->equal(a, b))
        fail_msg("round %u: not equal at the end", round);
}

void state_goes_on_after_load(const struct state_rig *kind, uint64_t seed)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t random = seed + round;
        void *a = kind->make(round), *b = kind->make(round);
        for (unsigned left = (unsigned)(rig_random(&random) % STEPS); left; left--)
            kind->step(a, &random);
        some_traffic(kind, b, random ^ 1, 50); /* what is loaded over must not matter */
        if (!kind->copy(a, b) || !kind->equal(a, b))
            fail_msg("round %u: not equal after the load", round);
        same_traffic(kind, a, b, random, round);
        kind->free(a);
        kind->free(b);
    }
}

static void hostile_stream(const struct state_rig *kind, void *r, struct device *dev,
                           struct state_out *out, unsigned i, uint64_t *random)
{
    size_t at = rig_random(random) % out->len;
    uint8_t was = out->data[at];
    out->data[at] = (uint8_t)rig_random(random);
    struct state_in in = {
        .data = out->data,
        .len = i % 4 ? out->len : rig_random(random) % out->len,
    };
    device_load(dev, &in, NULL);
    for (unsigned k = 0; k < 5; k++)
        kind->step(r, random);
    out->data[at] = was;
}

void state_survives_streams(const struct state_rig *kind, uint64_t seed)
{
    void *r = kind->make(1);
    uint64_t random = seed;
    for (unsigned i = 0; i < STEPS; i++)
        kind->step(r, &random);
    for (struct device **dev = kind->devices(r); *dev; dev++) {
        struct state_out out = {0};
        device_save(*dev, &out);
        for (unsigned i = 0; i < 400; i++)
            hostile_stream(kind, r, *dev, &out, i, &random);
        state_out_free(&out);
    }
    kind->free(r);
}
