/* The random numbers of these tests: splitmix64, so that a seed and a number of calls say it all.
 */
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 .. n-1, n > 0. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

/* The generator of the part `index` of a run, so that each part can be repeated alone. */
static inline struct rng rng_part(uint64_t seed, uint64_t index)
{
    struct rng r = {seed + index * UINT64_C(0xd1342543de82ef95)};
    rng_next(&r);
    return r;
}
