/* The motion of five bodies under gravity, in double precision. The unit is one step of time. */
#include "bench.h"

#include <math.h>

enum { BODIES = 5 };

struct body {
    double place[3], speed[3], mass;
};

static const struct body start[BODIES] = {
    {{0, 0, 0}, {0, 0, 0}, 40},
    {{5, 1, 0}, {-0.5, 2.7, 0.1}, 0.04},
    {{-8, 3, 0.5}, {-0.7, -2.0, 0}, 0.012},
    {{1, -14, -0.3}, {1.7, 0.1, 0.05}, 0.002},
    {{18, 9, 1}, {-0.6, 1.2, -0.1}, 0.003},
};

BENCH_OPAQUE static void advance(struct body *bodies, double dt)
{
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            struct body *a = &bodies[i], *b = &bodies[j];
            double d[3], square = 0;
            for (int k = 0; k < 3; k++) {
                d[k] = a->place[k] - b->place[k];
                square += d[k] * d[k];
            }
            double pull = dt / (square * sqrt(square));
            for (int k = 0; k < 3; k++) {
                a->speed[k] -= d[k] * b->mass * pull;
                b->speed[k] += d[k] * a->mass * pull;
            }
        }
    }
    for (int i = 0; i < BODIES; i++) {
        for (int k = 0; k < 3; k++)
            bodies[i].place[k] += dt * bodies[i].speed[k];
    }
}

static double energy(const struct body *bodies)
{
    double sum = 0;
    for (int i = 0; i < BODIES; i++) {
        const struct body *a = &bodies[i];
        for (int k = 0; k < 3; k++)
            sum += 0.5 * a->mass * a->speed[k] * a->speed[k];
        for (int j = i + 1; j < BODIES; j++) {
            double square = 0;
            for (int k = 0; k < 3; k++) {
                double d = a->place[k] - bodies[j].place[k];
                square += d * d;
            }
            sum -= a->mass * bodies[j].mass / sqrt(square);
        }
    }
    return sum;
}

static uint64_t run(uint64_t count)
{
    struct body bodies[BODIES];
    uint64_t bits = 1;

    for (int i = 0; i < BODIES; i++)
        bodies[i] = start[i];
    bench_start();
    for (uint64_t i = 0; i < count; i++)
        advance(bodies, 0.001);
    bench_stop();
    for (int i = 0; i < BODIES; i++)
        bits = bench_mix(bits, bench_bits(bodies[i].place[i % 3]));
    bench_exact(bits);
    return bench_rounded(energy(bodies), 7);
}

const struct bench_program bench_nbody = {"nbody", "fp", 1, 4000000, 400000, 4000, run};
