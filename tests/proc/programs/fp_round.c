/* Arithmetic in the four rounding modes that both architectures have, by fesetround. */
#include "check.h"

#include <fenv.h>
#include <math.h>
#include <stdint.h>

static const struct {
    int mode;
    const char *name;
} modes[] = {
    {FE_TONEAREST, "nearest"}, {FE_TOWARDZERO, "zero"}, {FE_DOWNWARD, "down"}, {FE_UPWARD, "up"}};

static const double values[] = {1.0,    3.0,           0.1,     -0.7,  1e300,   -1e-300, 5e-324,
                                2.5,    -3.5,          1e16,    7.0,   -1.0,    0.0,     -0.0,
                                1e-310, 123456789.125, 1.7e308, 2e-16, 1.0 / 3, -1e20};
#define COUNT (sizeof(values) / sizeof(values[0]))

static uint64_t hash;

static void take(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    /* A result that is no number has another sign on x86-64. */
    hash = (hash ^ (isnan(value) ? 0x7ff8 : bits)) * UINT64_C(0x100000001b3);
}

static void take_float(float value)
{
    take(value);
}

static void doubles(void)
{
    for (unsigned i = 0; i < COUNT; i++) {
        volatile double a = values[i];
        take(sqrt(fabs(a)));
        take(rint(a));
        take(nearbyint(a));
        take(floor(a) + ceil(a) + trunc(a) + round(a));
        take((float)a);
        if (fabs(a) < 1e18)
            take((double)(llrint(a) + lrint(a)));
        for (unsigned j = 0; j < COUNT; j++) {
            volatile double b = values[j];
            take(a + b);
            take(a - b);
            take(a * b);
            take(a / b);
            take(fma(a, b, -a));
        }
    }
}

static void floats(void)
{
    for (unsigned i = 0; i < COUNT; i++) {
        volatile float a = (float)values[i];
        take_float(sqrtf(fabsf(a)));
        for (unsigned j = 0; j < COUNT; j++) {
            volatile float b = (float)values[j];
            take_float(a + b);
            take_float(a * b);
            take_float(a / b);
            take_float(fmaf(a, b, a));
        }
    }
}

static void integers(void)
{
    static const int64_t whole[] = {
        0, 1, -1, 16777217, -16777219, INT64_MAX, INT64_MIN, 9007199254740993, 4611686018427387905};
    for (unsigned i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        volatile int64_t a = whole[i];
        volatile uint64_t u = (uint64_t)a;
        volatile int32_t w = (int32_t)a;
        take((double)a);
        take((double)u);
        take_float((float)a);
        take_float((float)u);
        take_float((float)w);
    }
}

int main(void)
{
    for (unsigned i = 0; i < 4; i++) {
        CHECK_IS(fesetround(modes[i].mode), 0);
        CHECK_IS(fegetround(), modes[i].mode);
        hash = UINT64_C(0xcbf29ce484222325);
        doubles();
        uint64_t first = hash;
        floats();
        uint64_t second = hash;
        integers();
        volatile double third = 1.0, three = 3.0;
        /* The C library's conversions follow the mode, too. */
        printf("%s: %016lx %016lx %016lx %.3f %.3f %a %a\n", modes[i].name, (unsigned long)first,
               (unsigned long)second, (unsigned long)hash, 0.0005, -2.0625, third / three,
               strtod("0.1", NULL));
    }
    CHECK(fesetround(12345) != 0);
    CHECK_IS(fegetround(), FE_UPWARD);
    return 0;
}
