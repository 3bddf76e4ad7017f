/* ACLINT, goldfish clock and power device, register by register. */
#include "test.h"

#include "dev/aclint.h"
#include "rig_test.h"

#define MSIP(h) (RIG_ACLINT + 4 * (h))
#define MTIMECMP(h) (RIG_ACLINT + 0x4000 + 8 * (h))
#define MTIME (RIG_ACLINT + 0xbff8)

static void msip(void **state)
{
    struct rig *r = *state;
    rig_write(r, MSIP(1), 4, 0xffffffff);
    assert_true(r->msip[1]);
    assert_false(r->msip[0]);
    assert_int_equal(rig_read(r, MSIP(1), 4), 1);
    assert_int_equal(rig_read(r, MSIP(0), 8), UINT64_C(1) << 32);
    rig_write(r, MSIP(1), 4, 2);
    assert_false(r->msip[1]);
    rig_write(r, MSIP(2), 4, 1); /* no such hart */
    assert_int_equal(rig_read(r, MSIP(2), 4), 0);
}

static void mtime_counts_at_10_mhz(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_read(r, MTIME, 8), 0);
    rig_advance(r, 1000000000);
    assert_int_equal(rig_read(r, MTIME, 8), 10000000);
    rig_advance(r, 99);
    assert_int_equal(rig_read(r, MTIME, 8), 10000000);
    rig_advance(r, 1);
    assert_int_equal(rig_read(r, MTIME, 8), 10000001);
    rig_write(r, MTIME, 8, UINT64_C(0x123456789abcdef0));
    assert_int_equal(rig_read(r, MTIME, 4), 0x9abcdef0);
    assert_int_equal(rig_read(r, MTIME + 4, 4), 0x12345678);
    rig_write(r, MTIME + 4, 4, 1);
    rig_advance(r, 1600);
    assert_int_equal(rig_read(r, MTIME, 8), UINT64_C(0x19abcdf00));
}

static void timer_fires_on_time(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_read(r, MTIMECMP(1), 8), UINT64_MAX);
    assert_false(r->mtip[0] || r->mtip[1]);
    rig_write(r, MTIMECMP(1), 8, 50);
    assert_int_equal(clock_deadline(&r->clock), 5000);
    rig_advance(r, 4999);
    assert_false(r->mtip[1]);
    rig_advance(r, 1);
    assert_true(r->mtip[1]);
    assert_false(r->mtip[0]);
    assert_int_equal(clock_deadline(&r->clock), CLOCK_NEVER);
    rig_write(r, MTIMECMP(1), 8, 51);
    assert_false(r->mtip[1]);
    rig_write(r, MTIMECMP(1) + 4, 4, 1);
    assert_int_equal(rig_read(r, MTIMECMP(1), 8), UINT64_C(0x100000033));
    rig_write(r, MTIMECMP(1) + 4, 4, 0);
    rig_write(r, MTIMECMP(1), 4, 7);
    assert_true(r->mtip[1]);
}

static void far_deadlines_do_not_overflow(void **state)
{
    struct rig *r = *state;
    rig_advance(r, 1000);
    static const uint64_t cmps[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63,
                                    UINT64_MAX / 100 + 1};
    for (unsigned i = 0; i < 4; i++) {
        rig_write(r, MTIMECMP(0), 8, cmps[i]);
        assert_false(r->mtip[0]);
        assert_int_equal(clock_deadline(&r->clock), CLOCK_NEVER);
    }
    rig_write(r, MTIMECMP(0), 8, UINT64_MAX / 100);
    assert_int_equal(clock_deadline(&r->clock), UINT64_MAX / 100 * 100);
}

static void mtime_wraps(void **state)
{
    struct rig *r = *state;
    rig_write(r, MTIMECMP(0), 8, UINT64_MAX - 2);
    rig_write(r, MTIME, 8, UINT64_MAX - 5);
    rig_advance(r, 300);
    assert_true(r->mtip[0]);
    rig_advance(r, 200);
    assert_int_equal(rig_read(r, MTIME, 8), UINT64_MAX);
    assert_true(r->mtip[0]);
    rig_advance(r, 100);
    assert_int_equal(rig_read(r, MTIME, 8), 0);
    assert_false(r->mtip[0]);
    /* Moving mtime moves the deadline. */
    rig_write(r, MTIMECMP(0), 8, 100);
    rig_write(r, MTIME, 8, 99);
    assert_false(r->mtip[0]);
    rig_advance(r, 100);
    assert_true(r->mtip[0]);
}

static void aclint_reset_is_quiet(void **state)
{
    struct rig *r = *state;
    rig_write(r, MSIP(0), 4, 1);
    rig_write(r, MTIMECMP(0), 8, 0);
    rig_write(r, MTIME, 8, 12345);
    assert_true(r->mtip[0] && r->msip[0]);
    device_reset(r->aclint);
    assert_false(r->mtip[0] || r->msip[0]);
    assert_int_equal(rig_read(r, MTIME, 8), 0);
}

static void rtc_enable_irq(struct rig *r)
{
    rig_write(r, RIG_PLIC + 4 * RIG_IRQ_RTC, 4, 1);
    rig_write(r, RIG_PLIC + 0x2000, 4, 1u << RIG_IRQ_RTC);
    rig_write(r, RIG_RTC + 0x10, 4, 1);
}

static void rtc_tells_the_time(void **state)
{
    struct rig *r = *state;
    rig_advance(r, 7);
    uint64_t now = RIG_EPOCH + 7;
    assert_int_equal(rig_read(r, RIG_RTC, 4), now & 0xffffffff);
    rig_advance(r, UINT64_C(5000000000)); /* the high half was latched */
    assert_int_equal(rig_read(r, RIG_RTC + 4, 4), now >> 32);
    rig_write(r, RIG_RTC + 4, 4, 0x11111111);
    rig_write(r, RIG_RTC, 4, 0x22222222);
    rig_advance(r, 3);
    assert_int_equal(rig_read(r, RIG_RTC, 4), 0x22222225);
    assert_int_equal(rig_read(r, RIG_RTC + 4, 4), 0x11111111);
    device_reset(r->rtc);
    assert_int_equal(rig_read(r, RIG_RTC, 4), 0x22222225);
}

static void rtc_alarm(void **state)
{
    struct rig *r = *state;
    rtc_enable_irq(r);
    uint64_t at = RIG_EPOCH + 1000;
    rig_write(r, RIG_RTC + 0x0c, 4, at >> 32);
    rig_write(r, RIG_RTC + 0x08, 4, at & 0xffffffff);
    assert_int_equal(rig_read(r, RIG_RTC + 0x18, 4), 1);
    assert_int_equal(rig_read(r, RIG_RTC + 0x08, 4), at & 0xffffffff);
    assert_int_equal(rig_read(r, RIG_RTC + 0x0c, 4), at >> 32);
    rig_advance(r, 999);
    assert_false(r->eip[0]);
    rig_advance(r, 1);
    assert_true(r->eip[0]);
    assert_int_equal(rig_read(r, RIG_RTC + 0x18, 4), 0);
    rig_write(r, RIG_RTC + 0x1c, 4, 1);
    assert_int_equal(rig_read(r, RIG_PLIC + 0x200004, 4), RIG_IRQ_RTC);
    rig_write(r, RIG_PLIC + 0x200004, 4, RIG_IRQ_RTC);
    assert_false(r->eip[0]);
    /* An alarm in the past rings at once; one that is taken back does not. */
    rig_write(r, RIG_RTC + 0x08, 4, 0);
    assert_true(r->eip[0]);
    rig_write(r, RIG_RTC + 0x10, 4, 0);
    rig_read(r, RIG_PLIC + 0x200004, 4);
    rig_write(r, RIG_PLIC + 0x200004, 4, RIG_IRQ_RTC);
    assert_false(r->eip[0]);
    rig_write(r, RIG_RTC + 0x0c, 4, 0xffffffff);
    rig_write(r, RIG_RTC + 0x08, 4, 0xffffffff);
    assert_int_equal(rig_read(r, RIG_RTC + 0x18, 4), 1);
    assert_int_equal(clock_deadline(&r->clock), UINT64_MAX - RIG_EPOCH);
    rig_write(r, RIG_RTC + 0x14, 4, 0);
    assert_int_equal(rig_read(r, RIG_RTC + 0x18, 4), 0);
    assert_int_equal(clock_deadline(&r->clock), CLOCK_NEVER);
}

static void power_events(void **state)
{
    struct rig *r = *state;
    rig_write(r, RIG_POWER, 4, 0x1234);
    rig_write(r, RIG_POWER + 4, 4, 0x5555);
    assert_int_equal(r->power_events, 0);
    rig_write(r, RIG_POWER, 4, 0x5555);
    assert_int_equal(r->power_events, 1);
    assert_int_equal(r->power_what, POWER_OFF);
    rig_write(r, RIG_POWER, 4, 0x00ab3333);
    assert_int_equal(r->power_what, POWER_FAIL);
    assert_int_equal(r->power_code, 0xab);
    rig_write(r, RIG_POWER, 2, 0x7777);
    assert_int_equal(r->power_what, POWER_RESET);
    assert_int_equal(r->power_events, 3);
    assert_int_equal(rig_read(r, RIG_POWER, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(msip),
        rig_unit_test(mtime_counts_at_10_mhz),
        rig_unit_test(timer_fires_on_time),
        rig_unit_test(far_deadlines_do_not_overflow),
        rig_unit_test(mtime_wraps),
        rig_unit_test(aclint_reset_is_quiet),
        rig_unit_test(rtc_tells_the_time),
        rig_unit_test(rtc_alarm),
        rig_unit_test(power_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
