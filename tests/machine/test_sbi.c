/*
 * The SBI calls, made through the registers of harts that no engine runs. Error codes, extension
 * and function numbers are literals of the SBI specification 2.0.
 */
#include "isa/riscv64/csr.h"
#include "machine/sbi.h"

#include "base/loop.h"
#include "chr/memory.h"
#include "isa/riscv64/hart.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { HARTS = 4 };

#define RAM UINT64_C(0x80000000)
#define RAM_SIZE UINT64_C(0x200000)
#define RAM_END (RAM + RAM_SIZE)
#define ALL_ONES UINT64_MAX
#define SSIP UINT64_C(2) /* of sip and sie */

enum { /* extensions */
       BASE = 0x10,
       TIME = 0x54494d45,
       IPI = 0x735049,
       RFENCE = 0x52464e43,
       HSM = 0x48534d,
       SRST = 0x53525354,
       DBCN = 0x4442434e,
       PMU = 0x504d55,
       STA = 0x535441,
       UNKNOWN = 0x0a000000, /* of the vendors' */
};

static struct machine machine;
static struct vcpu vcpus[HARTS];
static struct rv_hart harts[HARTS];
static struct sbi sbi;
static struct loop *loop;
static struct chr *console;
static unsigned timer_changes[HARTS];

static struct {
    unsigned count;
    enum machine_power event;
} power;

/* ---- the machine ---- */

static void power_called(void *ctx, enum machine_power event, unsigned code)
{
    (void)code;
    assert_ptr_equal(ctx, &power);
    power.count++;
    power.event = event;
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static void stimecmp_changed(struct rv_hart *h)
{
    timer_changes[h->hartid]++;
}

static uint64_t call_a4; /* of what call() does */

static int setup(void **state)
{
    struct error err = {0};
    (void)state;
    memset(&power, 0, sizeof power);
    call_a4 = 0;
    memset(timer_changes, 0, sizeof timer_changes);
    machine = (struct machine){.vcpus = vcpus,
                               .vcpu_count = HARTS,
                               .power = power_called,
                               .power_ctx = &power,
                               .mem = addrspace_new(&err)};
    assert_non_null(machine.mem);
    assert_int_equal(addrspace_add_ram(machine.mem, RAM, RAM_SIZE, &err), 0);
    clock_init(&machine.clock, true);
    memset(harts, 0, sizeof harts);
    for (unsigned i = 0; i < HARTS; i++) {
        struct rv_hart *h = &harts[i];
        vcpu_init(&vcpus[i], i, machine.mem, &machine.clock);
        vcpus[i].arch = h;
        h->hartid = i;
        h->sbi = 1;
        h->satp_max = RV_SATP_SV39;
        h->irq_lines = &vcpus[i].irq_lines;
        h->env = (struct rv_hart_env){
            .time = no_time, .stimecmp_changed = stimecmp_changed, .ctx = &vcpus[i]};
        rv_hart_reset(h, RAM);
        h->priv = RV_PRIV_S;
        rv_hart_view_changed(h);
    }
    loop = loop_new(&err);
    assert_non_null(loop);
    console = chr_memory_new(loop, &err);
    assert_non_null(console);
    assert_int_equal(sbi_init(&sbi, &machine, console, &err), 0);
    sbi_reset(&sbi, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbi_fini(&sbi);
    chr_free(console);
    loop_free(loop);
    addrspace_free(machine.mem);
    clock_fini(&machine.clock);
    return 0;
}

/* ---- calls ---- */

struct ret {
    int64_t error;
    uint64_t value;
};

/* All registers but a0 and a1 must come through a call as they were (chapter 3). */
static struct ret call(unsigned hart, uint64_t ext, uint64_t fid, uint64_t a0, uint64_t a1,
                       uint64_t a2, uint64_t a3)
{
    struct rv_hart *h = &harts[hart];
    uint64_t before[32];
    for (unsigned i = 1; i < 32; i++)
        h->x[i] = UINT64_C(0x1234500000000) + i;
    h->x[10] = a0;
    h->x[11] = a1;
    h->x[12] = a2;
    h->x[13] = a3;
    h->x[14] = call_a4;
    h->x[15] = 0;
    h->x[16] = fid;
    h->x[17] = ext;
    memcpy(before, h->x, sizeof before);
    sbi_call(&sbi, &vcpus[hart]);
    for (unsigned i = 0; i < 32; i++)
        if (i != 10 && i != 11)
            assert_int_equal(h->x[i], before[i]);
    return (struct ret){(int64_t)h->x[10], h->x[11]};
}

static int64_t error_of(uint64_t ext, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return call(0, ext, fid, a0, a1, a2, 0).error;
}

static void assert_value(struct ret r, uint64_t value)
{
    assert_int_equal(r.error, 0);
    assert_int_equal(r.value, value);
}

static void serve(unsigned hart)
{
    sbi_requests(&sbi, &vcpus[hart], vcpu_take_requests(&vcpus[hart]));
}

static uint64_t status(unsigned hart)
{
    struct ret r = call(0, HSM, 2, hart, 0, 0, 0);
    assert_int_equal(r.error, 0);
    return r.value;
}

/* ---- the tests ---- */

static void test_base(void **state)
{
    static const uint64_t present[] = {BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, PMU, STA};
    (void)state;
    assert_value(call(0, BASE, 0, 0, 0, 0, 0), 0x02000000);
    for (unsigned i = 0; i < sizeof present / sizeof *present; i++) {
        struct ret r = call(0, BASE, 3, present[i], 0, 0, 0);
        assert_int_equal(r.error, 0);
        assert_int_not_equal(r.value, 0);
    }
    assert_value(call(0, BASE, 3, UNKNOWN, 0, 0, 0), 0);
    assert_value(call(0, BASE, 3, 0x53555350, 0, 0, 0), 0); /* SUSP */
    assert_value(call(0, BASE, 3, 0, 0, 0, 0), 0);          /* legacy set_timer */
    assert_value(call(0, BASE, 3, UINT64_C(1) << 32 | TIME, 0, 0, 0), 0);
    for (uint64_t fid = 1; fid <= 6; fid++)
        assert_int_equal(error_of(BASE, fid, BASE, 0, 0), 0);
}

static void test_unknown(void **state)
{
    static const struct {
        uint64_t ext, fid;
    } functions[] = {{BASE, 7},
                     {TIME, 1},
                     {IPI, 1},
                     {RFENCE, 3},
                     {RFENCE, 7},
                     {HSM, 4},
                     {SRST, 1},
                     {DBCN, 3},
                     {PMU, 0xffff},
                     {STA, 1},
                     {UNKNOWN, 0},
                     {0, 0},
                     {1, 0},
                     {8, 0},
                     {ALL_ONES, 0},
                     {BASE, ALL_ONES},
                     {TIME, UINT64_C(1) << 32},
                     {HSM, UINT64_C(1) << 32 | 1}};
    (void)state;
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++)
        assert_int_equal(error_of(functions[i].ext, functions[i].fid, 0, 0, 0), -2);
    assert_int_equal(power.count, 0);
    assert_int_equal(timer_changes[0], 0);
    assert_true(sbi_started(&sbi, &vcpus[0]));
}

static void test_time(void **state)
{
    (void)state;
    assert_int_equal(error_of(TIME, 0, 0x123456789abcdef0, 0, 0), 0);
    assert_int_equal(harts[0].stimecmp, 0x123456789abcdef0);
    assert_int_equal(timer_changes[0], 1);
    assert_int_equal(call(2, TIME, 0, ALL_ONES, 0, 0, 0).error, 0);
    assert_int_equal(harts[2].stimecmp, ALL_ONES);
    assert_int_equal(timer_changes[2], 1);
    assert_int_equal(timer_changes[0], 1);
    assert_int_equal(harts[0].stimecmp, 0x123456789abcdef0);
}

/* After a call the harts of `expected` and no others have SSIP. */
static void assert_ipis(unsigned expected)
{
    for (unsigned i = 0; i < HARTS; i++) {
        assert_int_equal(rv_mip(&harts[i]) & SSIP, 0);
        serve(i);
        assert_int_equal(rv_mip(&harts[i]) & SSIP, expected >> i & 1 ? SSIP : 0);
        harts[i].mip &= ~SSIP;
    }
}

static void test_ipi(void **state)
{
    (void)state;
    assert_int_equal(error_of(IPI, 0, 0x6, 0, 0), 0);
    assert_ipis(0x6);
    assert_int_equal(error_of(IPI, 0, 0x5, 1, 0), 0);
    assert_ipis(0xa);
    assert_int_equal(error_of(IPI, 0, 0x1, 0, 0), 0); /* to itself */
    assert_ipis(0x1);
    assert_int_equal(error_of(IPI, 0, 0, ALL_ONES, 0), 0); /* all, the mask does not count */
    assert_ipis(0xf);
    assert_int_equal(error_of(IPI, 0, ALL_ONES, ALL_ONES, 0), 0);
    assert_ipis(0xf);
    assert_int_equal(error_of(IPI, 0, 0, 0, 0), 0);
    assert_ipis(0);
}

static void test_ipi_invalid(void **state)
{
    (void)state;
    assert_int_equal(error_of(IPI, 0, 0x10, 0, 0), -3);
    assert_int_equal(error_of(IPI, 0, 0x11, 0, 0), -3);
    assert_int_equal(error_of(IPI, 0, 0x2, 3, 0), -3);
    assert_int_equal(error_of(IPI, 0, 0x1, 4, 0), -3);
    assert_int_equal(error_of(IPI, 0, 0x2, ALL_ONES - 1, 0), -3);
    assert_int_equal(error_of(IPI, 0, 0x1, UINT64_C(1) << 32, 0), -3);
    assert_int_equal(error_of(IPI, 0, UINT64_C(1) << 63, 0, 0), -3);
    assert_ipis(0);
}

/* Two pages of a user of each of two address spaces, 1 being the current one. */
static void fill_tlb(unsigned hart)
{
    struct rv_hart *h = &harts[hart];
    rv_tlb_flush(h);
    for (uint64_t asid = 2; asid; asid--) {
        rv_csr_poke(h, 0x180, UINT64_C(8) << 60 | asid << 44 | 0x80000);
        for (uint64_t va = 0x1000; va <= 0x2000; va += 0x1000)
            rv_tlb_enter(&h->contexts[h->context].user, va | RV_TLB_READ, RAM | RV_TLB_SHIFT(12),
                         addrspace_ram(machine.mem, RAM, 4096));
    }
}

/* Which of them are there: bits 0 and 1 in the current space, 2 and 3 in the other. */
static unsigned tlb_has(unsigned hart)
{
    const struct rv_hart *h = &harts[hart];
    unsigned there = 0;
    for (unsigned i = 0; i < RV_CONTEXTS; i++) {
        const struct rv_context *c = &h->contexts[i];
        unsigned pages = (c->user.entry[1].rtag == 0x1000) | (c->user.entry[2].rtag == 0x2000) << 1;
        if (c->last_used)
            there |= pages << (i == h->context ? 0 : 2);
    }
    return there;
}

/* A target outside the guest has the request when the call returns, and obeys it before it enters.
 */
static void test_rfence(void **state)
{
    (void)state;
    for (uint64_t fid = 0; fid <= 2; fid++) {
        uint32_t request = fid ? VCPU_REQ_FLUSH_TLB : VCPU_REQ_FENCE_I;
        unsigned after = fid ? 0 : 15;
        uint64_t code[HARTS];
        for (unsigned i = 0; i < HARTS; i++) {
            code[i] = harts[i].code_epoch;
            fill_tlb(i);
        }
        /* The caller's own is done at once. */
        call_a4 = 1; /* a4: the space, where it counts */
        assert_int_equal(call(0, RFENCE, fid, 0x5, 0, 0, ALL_ONES).error, 0);
        assert_true(fid ? !(tlb_has(0) & 3) : harts[0].code_epoch > code[0]);
        assert_int_equal(atomic_load(&vcpus[1].requests), 0);
        assert_int_equal(atomic_load(&vcpus[2].requests) & request, request);
        assert_int_equal(atomic_load(&vcpus[3].requests), 0);
        assert_int_equal(tlb_has(2), 15);
        assert_int_equal(harts[2].code_epoch, code[2]);
        serve(2);
        assert_int_equal(tlb_has(2) & 3, after & 3);
        assert_true(fid || harts[2].code_epoch > code[2]);
        assert_int_equal(atomic_load(&vcpus[2].requests), 0);
        assert_int_equal(tlb_has(1), 15);
        assert_int_equal(harts[1].code_epoch, code[1]);
    }
    assert_int_equal(call(1, RFENCE, 1, 0, ALL_ONES, 0, ALL_ONES).error, 0);
    assert_int_equal(atomic_load(&vcpus[1].requests), 0);
    for (unsigned i = 0; i < HARTS; i++)
        if (i != 1)
            assert_true(atomic_load(&vcpus[i].requests) & VCPU_REQ_FLUSH_TLB);
}

/* Ranges and spaces are respected, however many there are. */
static void test_rfence_range(void **state)
{
    static const struct {
        uint64_t fid, start, size, asid;
        unsigned left;
    } c[] = {
        {1, 0, 0, 9, 0},
        {1, 0x1000, ALL_ONES, 9, 0},
        {1, 0x1000, 0x1000, 9, 10},
        {1, 0x2fff, 1, 9, 5},
        {1, 0x1fff, 2, 9, 0},
        {1, 0x3000, 0x3f000, 9, 15},
        {1, 0x2000, 0, 9, 5},
        {1, 0, 1 << 30, 9, 0},
        {2, 0, 0, 1, 12},
        {2, 0, 0, 2, 3},
        {2, 0, 0, 9, 15},
        {2, 0x1000, 0x1000, 1, 14},
        {2, 0x1000, 0x1000, 2, 11},
        {2, 0, ALL_ONES, 0x10001, 12},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++)
        for (unsigned times = 1; times < 20; times += 6) {
            fill_tlb(2);
            for (unsigned k = 0; k < times; k++) {
                call_a4 = c[i].asid;
                assert_int_equal(call(0, RFENCE, c[i].fid, 0x4, 0, c[i].start, c[i].size).error, 0);
            }
            serve(2);
            assert_int_equal(tlb_has(2), times > SBI_FENCES ? 0 : c[i].left);
        }
}

static void test_rfence_invalid(void **state)
{
    (void)state;
    for (uint64_t fid = 0; fid <= 2; fid++) {
        assert_int_equal(error_of(RFENCE, fid, 0x10, 0, 0), -3);
        assert_int_equal(error_of(RFENCE, fid, 0x8, 1, 0), -3);
        assert_int_equal(error_of(RFENCE, fid, 0x1, 4, 0), -3);
    }
    for (unsigned i = 0; i < HARTS; i++)
        assert_int_equal(atomic_load(&vcpus[i].requests), 0);
}

/* The owner of a hart that is in the guest and leaves it only when something is asked of it. */
static void *guest_thread(void *arg)
{
    unsigned hart = *(const unsigned *)arg;
    uint32_t bits;
    do {
        sched_yield();
        bits = vcpu_take_requests(&vcpus[hart]);
        /* Also for a kick alone: the request may have been taken before its ticket was there. */
        sbi_requests(&sbi, &vcpus[hart], bits);
    } while (!(bits & VCPU_REQ_STOP));
    return NULL;
}

/* A target inside the guest has obeyed when the call returns. */
static void test_rfence_waits(void **state)
{
    pthread_t thread;
    unsigned target = 2;
    (void)state;
    atomic_store(&vcpus[target].in_guest, true);
    assert_int_equal(pthread_create(&thread, NULL, guest_thread, &target), 0);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t fid = i % 3, code = harts[target].code_epoch;
        fill_tlb(target);
        call_a4 = 1;
        assert_int_equal(error_of(RFENCE, fid, 0x4, 0, 0), 0);
        assert_true(fid ? !(tlb_has(target) & 3) : harts[target].code_epoch > code);
    }
    vcpu_request(&vcpus[target], VCPU_REQ_STOP);
    pthread_join(thread, NULL);
}

static void test_hsm_start(void **state)
{
    const uint64_t arg = 0xfeedfacecafebeef;
    struct rv_hart *h = &harts[3];
    (void)state;
    assert_int_equal(status(0), 0); /* STARTED */
    for (unsigned i = 1; i < HARTS; i++) {
        assert_int_equal(status(i), 1); /* STOPPED */
        assert_false(sbi_started(&sbi, &vcpus[i]));
    }
    h->satp = UINT64_C(8) << 60 | 0x80001;
    h->mstatus |= RV_MSTATUS_SIE;
    h->priv = RV_PRIV_U;
    assert_int_equal(error_of(HSM, 0, 3, RAM + 0x1002, arg), 0);
    assert_int_equal(status(3), 2); /* START_PENDING */
    assert_int_equal(error_of(HSM, 0, 3, RAM, 0), -6);
    assert_false(sbi_started(&sbi, &vcpus[3]));
    assert_int_not_equal(atomic_load(&vcpus[3].requests), 0);
    serve(3);
    assert_true(sbi_started(&sbi, &vcpus[3]));
    assert_int_equal(status(3), 0);
    assert_int_equal(h->pc, RAM + 0x1002);
    assert_int_equal(h->x[10], 3);
    assert_int_equal(h->x[11], arg);
    assert_int_equal(h->satp, 0);
    assert_int_equal(h->mstatus & RV_MSTATUS_SIE, 0);
    assert_int_equal(h->priv, RV_PRIV_S);
    assert_int_equal(error_of(HSM, 0, 3, RAM, 0), -6);
    assert_int_equal(error_of(HSM, 0, 0, RAM, 0), -6); /* itself */
    assert_int_equal(status(1), 1);
}

static void test_hsm_start_invalid(void **state)
{
    (void)state;
    assert_int_equal(error_of(HSM, 0, HARTS, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 0, ALL_ONES, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 0, UINT64_C(1) << 32 | 1, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 0, 1, 0, 0), -5);
    assert_int_equal(error_of(HSM, 0, 1, RAM - 2, 0), -5);
    assert_int_equal(error_of(HSM, 0, 1, RAM_END, 0), -5);
    assert_int_equal(error_of(HSM, 0, 1, ALL_ONES, 0), -5);
    assert_int_equal(error_of(HSM, 0, 1, RAM + 1, 0), -5);
    assert_int_equal(status(1), 1);
    assert_int_equal(error_of(HSM, 2, HARTS, 0, 0), -3);
    assert_int_equal(error_of(HSM, 2, ALL_ONES, 0, 0), -3);
    assert_int_equal(error_of(HSM, 0, 1, RAM_END - 2, 0), 0);
}

static void test_hsm_stop(void **state)
{
    (void)state;
    assert_int_equal(error_of(HSM, 0, 1, RAM, 7), 0);
    serve(1);
    assert_int_equal(status(1), 0);
    call(1, HSM, 1, 0, 0, 0, 0);
    assert_int_equal(status(1), 1);
    assert_false(sbi_started(&sbi, &vcpus[1]));
    /* Neither a pending interrupt nor an IPI starts it. */
    harts[1].mie |= SSIP;
    assert_int_equal(error_of(IPI, 0, 0x2, 0, 0), 0);
    serve(1);
    assert_int_equal(status(1), 1);
    assert_int_equal(error_of(HSM, 0, 1, RAM + 0x40, 8), 0);
    serve(1);
    assert_int_equal(status(1), 0);
    assert_int_equal(harts[1].pc, RAM + 0x40);
    assert_int_equal(harts[1].x[11], 8);
    assert_int_equal(rv_mip(&harts[1]) & SSIP, 0); /* the IPI to the stopped hart is gone */
}

static void start_1(void)
{
    assert_int_equal(error_of(HSM, 0, 1, RAM, 0), 0);
    serve(1);
    harts[1].mie = SSIP;
}

static void test_suspend_retentive(void **state)
{
    (void)state;
    start_1();
    harts[1].pc = RAM + 0x100;
    harts[1].satp = UINT64_C(8) << 60 | 0x80001;
    assert_value(call(1, HSM, 3, 0, 0, 0, 0), 0); /* no address is needed */
    assert_int_equal(status(1), 4);               /* SUSPENDED */
    assert_false(sbi_started(&sbi, &vcpus[1]));
    assert_int_equal(error_of(HSM, 0, 1, RAM, 0), -6);
    serve(1);
    assert_int_equal(status(1), 4);
    assert_int_equal(error_of(IPI, 0, 0x2, 0, 0), 0);
    serve(1);
    assert_int_equal(status(1), 0);
    assert_true(sbi_started(&sbi, &vcpus[1]));
    assert_int_equal(harts[1].pc, RAM + 0x100);
    assert_int_equal(harts[1].satp, UINT64_C(8) << 60 | 0x80001);
    assert_int_equal(harts[1].x[10], 0);
    assert_int_equal(rv_mip(&harts[1]) & SSIP, SSIP);
}

/* The registers of the resumption are set by the call, so that `call` cannot make it. */
static void test_suspend_non_retentive(void **state)
{
    struct rv_hart *h = &harts[1];
    (void)state;
    start_1();
    h->satp = UINT64_C(8) << 60 | 0x80001;
    h->mstatus |= RV_MSTATUS_SIE;
    h->x[10] = 0x80000000;
    h->x[11] = RAM + 0x2000;
    h->x[12] = 0x99;
    h->x[16] = 3;
    h->x[17] = HSM;
    sbi_call(&sbi, &vcpus[1]);
    assert_int_equal(status(1), 4);
    assert_int_equal(error_of(IPI, 0, 0x2, 0, 0), 0);
    serve(1);
    assert_int_equal(status(1), 0);
    assert_int_equal(h->pc, RAM + 0x2000);
    assert_int_equal(h->x[10], 1);
    assert_int_equal(h->x[11], 0x99);
    assert_int_equal(h->satp, 0);
    assert_int_equal(h->mstatus & RV_MSTATUS_SIE, 0);
}

static void test_suspend_invalid(void **state)
{
    (void)state;
    assert_int_equal(error_of(HSM, 3, 1, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 3, 0x0fffffff, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 3, 0x10000000, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 3, 0x80000001, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 3, 0xffffffff, RAM, 0), -3);
    assert_int_equal(error_of(HSM, 3, 0x80000000, RAM_END, 0), -5);
    assert_int_equal(status(0), 0);
}

static void test_srst(void **state)
{
    static const struct {
        uint64_t type, reason;
        enum machine_power event;
    } good[] = {{0, 0, MACHINE_POWER_OFF},
                {0, 1, MACHINE_POWER_FAIL},
                {1, 0, MACHINE_POWER_RESET},
                {1, 1, MACHINE_POWER_RESET},
                {2, 0, MACHINE_POWER_RESET}};
    static const uint64_t bad[][2] = {
        {3, 0},          {0xefffffff, 0}, {0xf0000000, 0},         {0, 2},
        {1, 0xdfffffff}, {0, 0xe0000000}, {0xffffffff, 0xffffffff}};
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(error_of(SRST, 0, bad[i][0], bad[i][1], 0), -3);
    assert_int_equal(power.count, 0);
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
        error_of(SRST, 0, good[i].type, good[i].reason, 0);
        assert_int_equal(power.count, i + 1);
        assert_int_equal(power.event, good[i].event);
    }
}

static void assert_output(const char *text)
{
    char out[256];
    size_t n = chr_memory_take(console, out, sizeof out);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(out, text, n);
}

static void test_dbcn(void **state)
{
    (void)state;
    assert_true(addrspace_copy_in(machine.mem, RAM + 0x300, "hello", 5));
    assert_true(addrspace_copy_in(machine.mem, RAM_END - 3, "end", 3));
    assert_value(call(0, DBCN, 0, 5, RAM + 0x300, 0, 0), 5);
    assert_output("hello");
    assert_value(call(0, DBCN, 0, 3, RAM_END - 3, 0, 0), 3);
    assert_output("end");
    assert_value(call(0, DBCN, 2, 0xffffff00 | 'x', 0, 0, 0), 0); /* the low byte counts */
    assert_output("x");
    assert_value(call(0, DBCN, 1, 8, RAM + 0x300, 0, 0), 0); /* no input is there */
    assert_value(call(0, DBCN, 0, 0, RAM + 0x300, 0, 0), 0);
    assert_output("");
}

static void test_dbcn_invalid(void **state)
{
    static const uint64_t bad[][3] = {{1, 0, 0},           {1, RAM - 1, 0},        {1, RAM_END, 0},
                                      {4, RAM_END - 3, 0}, {ALL_ONES, RAM, 0},     {2, RAM - 1, 0},
                                      {1, RAM, 1},         {1, RAM, ALL_ONES},     {1, ALL_ONES, 0},
                                      {2, ALL_ONES, 0},    {RAM_SIZE + 1, RAM, 0}, {5, RAM, 1}};
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        for (uint64_t fid = 0; fid <= 1; fid++)
            assert_int_equal(error_of(DBCN, fid, bad[i][0], bad[i][1], bad[i][2]), -3);
    assert_output("");
}

static void test_pmu(void **state)
{
    struct ret r = call(0, PMU, 0, 0, 0, 0, 0);
    unsigned cycle = 0, instret = 0;
    (void)state;
    assert_int_equal(r.error, 0);
    assert_in_range(r.value, 2, 64);
    uint64_t count = r.value, instret_index = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct ret info = call(0, PMU, 1, i, 0, 0, 0);
        if (info.error) {
            assert_int_equal(info.error, -3);
            continue;
        }
        assert_int_equal(info.value >> 63, 0);         /* a hardware counter */
        assert_int_equal(info.value >> 12 & 0x3f, 63); /* of 64 bits */
        assert_int_equal(info.value >> 18, 0);
        cycle += (info.value & 0xfff) == 0xc00;
        if ((info.value & 0xfff) == 0xc02) {
            instret++;
            instret_index = i;
        }
        assert_int_equal(error_of(PMU, 5, i, 0, 0), -3); /* not a firmware counter */
        assert_int_equal(error_of(PMU, 6, i, 0, 0), -3);
    }
    assert_int_equal(cycle, 1);
    assert_int_equal(instret, 1);
    assert_int_equal(error_of(PMU, 1, count, 0, 0), -3);
    assert_int_equal(error_of(PMU, 1, ALL_ONES, 0, 0), -3);
    assert_int_equal(error_of(PMU, 5, ALL_ONES, 0, 0), -3);

    /* Event 2: instructions; event 3: cache references, which nothing counts. */
    assert_value(call(0, PMU, 2, instret_index, 1, 0, 2), instret_index);
    assert_int_equal(call(0, PMU, 2, instret_index, 1, 0, 3).error, -2);
    assert_int_equal(call(0, PMU, 2, count, 1, 0, 2).error, -3);
    assert_int_equal(call(0, PMU, 3, ALL_ONES, 1, 0, 0).error, -3);
    assert_int_equal(call(0, PMU, 4, 0, UINT64_C(1) << 63, 0, 0).error, -3);
}

static void test_sta(void **state)
{
    const uint8_t zero[64] = {0};
    uint8_t record[64];
    (void)state;
    memset(record, 0xaa, sizeof record);
    assert_true(addrspace_copy_in(machine.mem, RAM + 0x1000, record, sizeof record));
    assert_int_equal(error_of(STA, 0, RAM + 0x1000, 0, 1), -3); /* flags */
    assert_int_equal(error_of(STA, 0, RAM + 0x1020, 0, 0), -3); /* alignment of 64 */
    assert_int_equal(error_of(STA, 0, RAM - 64, 0, 0), -5);
    assert_int_equal(error_of(STA, 0, RAM_END, 0, 0), -5);
    assert_int_equal(error_of(STA, 0, RAM + 0x1000, 1, 0), -5);
    assert_true(addrspace_copy_out(machine.mem, RAM + 0x1000, record, sizeof record));
    assert_int_equal(record[0], 0xaa);
    assert_int_equal(error_of(STA, 0, RAM + 0x1000, 0, 0), 0);
    assert_true(addrspace_copy_out(machine.mem, RAM + 0x1000, record, sizeof record));
    assert_memory_equal(record, zero, sizeof record);
    assert_int_equal(error_of(STA, 0, RAM_END - 64, 0, 0), 0);
    assert_int_equal(error_of(STA, 0, ALL_ONES, ALL_ONES, 1), -3);
    assert_int_equal(error_of(STA, 0, ALL_ONES, ALL_ONES, 0), 0);
}

static void test_reset(void **state)
{
    (void)state;
    start_1();
    sbi_reset(&sbi, 2);
    for (unsigned i = 0; i < HARTS; i++)
        assert_int_equal(status(i), i == 2 ? 0 : 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_base),
        TEST(test_unknown),
        TEST(test_time),
        TEST(test_ipi),
        TEST(test_ipi_invalid),
        TEST(test_rfence),
        TEST(test_rfence_range),
        TEST(test_rfence_invalid),
        TEST(test_rfence_waits),
        TEST(test_hsm_start),
        TEST(test_hsm_start_invalid),
        TEST(test_hsm_stop),
        TEST(test_suspend_retentive),
        TEST(test_suspend_non_retentive),
        TEST(test_suspend_invalid),
        TEST(test_srst),
        TEST(test_dbcn),
        TEST(test_dbcn_invalid),
        TEST(test_pmu),
        TEST(test_sta),
        TEST(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
