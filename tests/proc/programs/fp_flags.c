/* Exceptions noted in flags: which operation raises which, saved and restored environments. */
#include "check.h"

#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

static const char *flags(void)
{
    static char text[6];
    int raised = fetestexcept(FE_ALL_EXCEPT);
    snprintf(text, sizeof(text), "%s%s%s%s%s", raised & FE_INVALID ? "v" : "",
             raised & FE_DIVBYZERO ? "z" : "", raised & FE_OVERFLOW ? "o" : "",
             raised & FE_UNDERFLOW ? "u" : "", raised & FE_INEXACT ? "x" : "");
    feclearexcept(FE_ALL_EXCEPT);
    return text;
}

static volatile double sink, one = 1, zero = 0, big = 1e308, tiny = 5e-324, small = 2.3e-308,
                             three = 3;
static volatile float float_sink, float_big = 3e38f, float_tiny = 1e-45f;
static volatile long long integer;
static volatile int truth;

#define SHOW(what)                          \
    do {                                    \
        feclearexcept(FE_ALL_EXCEPT);       \
        what;                               \
        printf("%s: %s\n", #what, flags()); \
    } while (0)

static void operations(void)
{
    SHOW(sink = one + one);
    SHOW(sink = one / three);
    SHOW(sink = one / zero);
    SHOW(sink = zero / zero);
    SHOW(sink = big * big);
    SHOW(sink = big + big);
    SHOW(sink = tiny * tiny);
    SHOW(sink = small / three);
    SHOW(sink = tiny / one);
    SHOW(sink = small * 0.5);
    SHOW(sink = sqrt(-one));
    SHOW(sink = sqrt(three));
    SHOW(sink = INFINITY - INFINITY * one);
    SHOW(sink = INFINITY * zero);
    SHOW(sink = NAN + one);
    SHOW(sink = __builtin_nans("") + one);
    SHOW(sink = fma(big, big, -big));
    SHOW(sink = fma(one, one, tiny));
    SHOW(float_sink = float_big * float_big);
    SHOW(float_sink = float_tiny * float_tiny);
    SHOW(float_sink = (float)big);
    SHOW(float_sink = (float)one / (float)three);
    SHOW(float_sink = (float)tiny);
    SHOW(float_sink = sqrtf((float)-one));
    SHOW(integer = (long long)(one + 0.5));
    SHOW(integer = (long long)big);
    SHOW(integer = (long long)(three));
    SHOW(integer = llrint(one / three));
    SHOW(sink = rint(one / three));
    SHOW(sink = nearbyint(2.5 * one));
    SHOW(truth = one < three);
    SHOW(truth = NAN * one == three);
    SHOW(truth = (sink = NAN) < three);
    SHOW(truth = isless(sink = NAN, three));
    SHOW(sink = fmax(one, three));
    SHOW(sink = (double)(float_sink = 1.5f));
}

static void environments(void)
{
    fenv_t saved;
    CHECK_IS(fesetround(FE_DOWNWARD), 0);
    sink = one / zero;
    CHECK_IS(fegetenv(&saved), 0);
    CHECK_IS(fesetenv(FE_DFL_ENV), 0);
    CHECK(fegetround() == FE_TONEAREST && fetestexcept(FE_ALL_EXCEPT) == 0);
    CHECK_IS(fesetenv(&saved), 0);
    CHECK(fegetround() == FE_DOWNWARD && fetestexcept(FE_DIVBYZERO));
    CHECK_IS(feholdexcept(&saved), 0);
    CHECK_IS(fetestexcept(FE_ALL_EXCEPT), 0);
    sink = zero / zero;
    CHECK_IS(feupdateenv(&saved), 0);
    printf("updated: %s\n", flags());
    fexcept_t one_flag;
    feraiseexcept(FE_OVERFLOW | FE_INVALID);
    CHECK_IS(fegetexceptflag(&one_flag, FE_OVERFLOW), 0);
    feclearexcept(FE_ALL_EXCEPT);
    CHECK_IS(fesetexceptflag(&one_flag, FE_OVERFLOW), 0);
    printf("set: %s\n", flags());
    CHECK_IS(fesetround(FE_TONEAREST), 0);
}

static void *in_thread(void *argument)
{
    (void)argument;
    int mode = fegetround();
    fesetround(FE_UPWARD);
    sink = one / three;
    CHECK_IS(fegetround(), FE_UPWARD);
    return (void *)(intptr_t)(mode == FE_TOWARDZERO);
}

static void handler(int number)
{
    (void)number;
    fesetround(FE_UPWARD);
    feraiseexcept(FE_DIVBYZERO | FE_INVALID);
    sink = one / three;
}

static void elsewhere(void)
{
    /* A thread inherits the mode, and what it sets is its own. */
    pthread_t thread;
    void *result;
    feclearexcept(FE_ALL_EXCEPT);
    fesetround(FE_TOWARDZERO);
    CHECK_IS(pthread_create(&thread, NULL, in_thread, NULL), 0);
    CHECK_IS(pthread_join(thread, &result), 0);
    CHECK_IS(fegetround(), FE_TOWARDZERO);
    printf("inherited: %d, flags here: %s\n", result != NULL, flags());

    /* What a handler does is forgotten when it returns. */
    signal(SIGUSR1, handler);
    feraiseexcept(FE_UNDERFLOW);
    raise(SIGUSR1);
    CHECK_IS(fegetround(), FE_TOWARDZERO);
    CHECK_IS(fetestexcept(FE_DIVBYZERO | FE_INVALID), 0);
    printf("after a handler: %s\n", flags());
}

int main(void)
{
    operations();
    environments();
    elsewhere();
    return 0;
}
