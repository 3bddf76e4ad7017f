/* Values and not-numbers: classes, conversions, minimum and maximum, signs, text, long double. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

static volatile double values[] = {
    0.0,      -0.0,      1.5, -2.5,       DBL_MAX,      DBL_MIN,           5e-324,
    INFINITY, -INFINITY, NAN, 123456.789, -0.999999999, 4503599627370497.5};
#define COUNT (sizeof(values) / sizeof(values[0]))

int main(void)
{
    for (unsigned i = 0; i < COUNT; i++) {
        double a = values[i];
        int exponent = 0;
        printf("%a: class %d%d%d%d sign %d, %a %g %.17g, float %a\n", isnan(a) ? fabs(a) : a,
               !!isnan(a), !!isinf(a), !!isfinite(a), !!isnormal(a), isnan(a) ? 0 : !!signbit(a),
               isfinite(a) ? frexp(a, &exponent) : 0.0, isnan(a) ? 0.0 : cbrt(a),
               isnan(a) ? 0.0 : a, isnan(a) ? 0.0f : (double)(float)a);
        for (unsigned j = 0; j < COUNT; j++) {
            double b = values[j];
            if (isnan(a) || isnan(b)) {
                CHECK(!(a < b) && !(a == b) && !(a > b) && a != b);
                continue;
            }
            /* Which of two zeros is the smaller one is the library's choice. */
            if (a == 0 && b == 0)
                continue;
            printf(" %a,%a,%a,%d%d%d", fmin(a, b), fmax(a, b), copysign(a, b), a < b, a <= b,
                   a == b);
        }
        printf("\n");
    }
    /* A number beside none is the result. */
    volatile double none = NAN, number = 4;
    printf("%g %g\n", fmin(none, number), fmax(number, none));
    /* Bits pass through registers and memory unchanged, whatever they mean. */
    const uint64_t patterns[] = {UINT64_C(0x7ff0000000000001), UINT64_C(0xfff8123456789abc),
                                 UINT64_C(0x8000000000000000), UINT64_C(0x000fffffffffffff)};
    for (unsigned i = 0; i < 4; i++) {
        volatile double moved[2];
        memcpy((void *)&moved[0], &patterns[i], 8);
        moved[1] = moved[0];
        uint64_t bits;
        memcpy(&bits, (void *)&moved[1], 8);
        CHECK_IS(bits, patterns[i]);
        double negated = -moved[1];
        memcpy(&bits, &negated, 8);
        CHECK_IS(bits, patterns[i] ^ (UINT64_C(1) << 63));
    }
    float narrow = 0;
    for (int i = 1; i <= 1000; i++)
        narrow += 1.0f / (float)i;
    double wide = 0;
    for (int i = 1; i <= 100000; i++)
        wide += 1.0 / i / i;
    printf("%a %a\n", narrow, wide);
    printf("%.10f %.10f %.10f %.10f\n", sin(1.0 * number), exp(number), log(number),
           pow(number, 0.3));
    char text[64];
    for (int i = -20; i < 20; i++) {
        snprintf(text, sizeof(text), "%.17e", ldexp(1.0 / 3, i * 50));
        CHECK(strtod(text, NULL) == ldexp(1.0 / 3, i * 50));
        printf("%s ", text);
    }
    printf("\n");
    /* 80 or 128 bits: what both have. */
    volatile long double third = 1.0L / 3.0L;
    printf("%.15Lf %.15Lf\n", third * 3.0L, sqrtl(third));
    return 0;
}
