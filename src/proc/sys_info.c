/* What the program asks about the system: its name, the time, the processors. */
#include "base/bits.h"
#include "isa/riscv64/ops.h"
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---- name ---- */

/* C libraries for riscv64 refuse to run on kernels that are older than the architecture. */
static bool release_too_old(const char *release)
{
    unsigned major = 0, minor = 0;
    sscanf(release, "%u.%u", &major, &minor);
    return major < 4 || (major == 4 && minor < 15);
}

int64_t sys_uname(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct utsname u;
    (void)t;
    if (uname(&u))
        return -errno;
    memset(u.machine, 0, sizeof u.machine);
    strcpy(u.machine, "riscv64");
    if (release_too_old(u.release)) {
        memset(u.release, 0, sizeof u.release);
        strcpy(u.release, "4.15.0");
    }
    return guest_write(a[0], &u, sizeof u) ? 0 : -EFAULT;
}

/*
 * The layout of the address space is not the program's to choose: it would be guise's, from the
 * next exec on.
 */
int64_t sys_personality(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    const uint64_t layout =
        ADDR_LIMIT_32BIT | ADDR_LIMIT_3GB | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO | READ_IMPLIES_EXEC;
    uint64_t persona = (uint32_t)a[0];
    if (persona != UINT32_MAX)
        persona &= ~layout;
    return thread_host_call(t, SYS_personality, persona, 0, 0, 0, 0, 0);
}

/* ---- time ---- */

/* The C library's is in the vDSO: a fifth of the time of a system call. */
int64_t sys_clock_gettime(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct timespec now;
    (void)t;
    if (clock_gettime((clockid_t)a[0], &now))
        return -errno;
    return guest_write(a[1], &now, sizeof now) ? 0 : -EFAULT;
}

/* A sleep that was interrupted for a tracer goes on with what was left of it. */
static int64_t sleep_relative(struct thread *t, uint64_t clock, uint64_t request, uint64_t remain)
{
    struct timespec ts;
    if (!guest_read(&ts, request, sizeof ts))
        return -EFAULT;
    if (trace_repeats(t))
        ts = t->trace.left;
    int64_t rc = thread_host_call(t, SYS_clock_nanosleep, clock, 0, guest_address(&ts),
                                  guest_address(&t->trace.left), 0, 0);
    if (rc == -EINTR && remain && !guest_write(remain, &t->trace.left, sizeof t->trace.left))
        return -EFAULT;
    return rc;
}

int64_t sys_nanosleep(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return sleep_relative(t, CLOCK_MONOTONIC, a[0], a[1]);
}

int64_t sys_clock_nanosleep(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    if ((uint32_t)a[1] & TIMER_ABSTIME)
        return syscall_host(t, SYS_clock_nanosleep, a);
    return sleep_relative(t, a[0], a[2], a[3]);
}

/* ---- processors (asm/hwprobe.h) ---- */

enum hwprobe_key {
    HWPROBE_MVENDORID,
    HWPROBE_MARCHID,
    HWPROBE_MIMPID,
    HWPROBE_BASE_BEHAVIOR,
    HWPROBE_IMA_EXT_0,
    HWPROBE_CPUPERF_0,
    HWPROBE_ZICBOZ_BLOCK_SIZE,
    HWPROBE_HIGHEST_VIRT_ADDRESS,
    HWPROBE_TIME_CSR_FREQ,
    HWPROBE_MISALIGNED_SCALAR_PERF,
    HWPROBE_MISALIGNED_VECTOR_PERF,
};
#define HWPROBE_IMA UINT64_C(1)
#define HWPROBE_FD UINT64_C(1)
#define HWPROBE_MISALIGNED_FAST 3
#define HWPROBE_MISALIGNED_UNSUPPORTED 4
#define HWPROBE_WHICH_CPUS 1 /* flag: which processors are like this? */

/* Bits of HWPROBE_IMA_EXT_0. */
static const struct {
    uint8_t ext, bit;
} hwprobe_exts[] = {
    {RV_EXT_C, 1},
    {RV_EXT_ZBA, 3},
    {RV_EXT_ZBB, 4},
    {RV_EXT_ZBS, 5},
    {RV_EXT_ZICBOZ, 6},
    {RV_EXT_ZBC, 7},
    {RV_EXT_ZFH, 27},
    {RV_EXT_ZFHMIN, 28},
    {RV_EXT_ZIHINTNTL, 29},
    {RV_EXT_ZFA, 32},
    {RV_EXT_ZACAS, 34},
    {RV_EXT_ZICOND, 35},
    {RV_EXT_ZIHINTPAUSE, 36},
    {RV_EXT_C, 43},
    {RV_EXT_ZCB, 44},
    {RV_EXT_C, 45},
    {RV_EXT_ZAWRS, 48},
};

static uint64_t hwprobe_extensions(uint64_t exts)
{
    uint64_t bits = exts >> RV_EXT_D & 1 ? HWPROBE_FD : 0;
    for (unsigned i = 0; i < ARRAY_SIZE(hwprobe_exts); i++)
        bits |= (exts >> hwprobe_exts[i].ext & 1) << hwprobe_exts[i].bit;
    return bits;
}

/* An unknown key becomes -1. */
static void hwprobe_answer(const struct rv_hart *h, struct guest_hwprobe *pair)
{
    static const struct guest_hwprobe fixed[] = {
        {HWPROBE_MVENDORID, 0},
        {HWPROBE_MARCHID, 0},
        {HWPROBE_MIMPID, 0},
        {HWPROBE_BASE_BEHAVIOR, HWPROBE_IMA},
        {HWPROBE_CPUPERF_0, HWPROBE_MISALIGNED_FAST},
        {HWPROBE_HIGHEST_VIRT_ADDRESS, MM_HIGH - 1},
        {HWPROBE_TIME_CSR_FREQ, PROCESS_TIME_FREQUENCY},
        {HWPROBE_MISALIGNED_SCALAR_PERF, HWPROBE_MISALIGNED_FAST},
        {HWPROBE_MISALIGNED_VECTOR_PERF, HWPROBE_MISALIGNED_UNSUPPORTED},
    };
    if (pair->key == HWPROBE_IMA_EXT_0) {
        pair->value = hwprobe_extensions(h->exts);
        return;
    }
    if (pair->key == HWPROBE_ZICBOZ_BLOCK_SIZE) {
        pair->value = h->exts >> RV_EXT_ZICBOZ & 1 ? RV_CBO_BLOCK : 0;
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (fixed[i].key == pair->key) {
            *pair = fixed[i];
            return;
        }
    }
    *pair = (struct guest_hwprobe){.key = -1};
}

/* The program's set of processors, cut to those that there are. -errno. */
static int64_t hwprobe_cpus(uint64_t cpus, uint64_t size, cpu_set_t *set)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(set);
    if (!guest_read(set, cpus, size < sizeof *set ? size : sizeof *set))
        return -EFAULT;
    for (unsigned i = 0; i < CPU_SETSIZE; i++)
        if (i >= online)
            CPU_CLR(i, set);
    return 0;
}

static int64_t hwprobe_values(const struct rv_hart *h, const uint64_t a[SYSCALL_ARGS])
{
    cpu_set_t set;
    if (a[2] || a[3]) {
        int64_t rc = hwprobe_cpus(a[3], a[2], &set);
        if (rc)
            return rc;
        if (!CPU_COUNT(&set))
            return -EINVAL;
    }
    for (uint64_t i = 0; i < a[1]; i++) {
        struct guest_hwprobe pair;
        uint64_t at = a[0] + i * sizeof pair;
        if (!guest_read(&pair, at, sizeof pair))
            return -EFAULT;
        hwprobe_answer(h, &pair);
        if (!guest_write(at, &pair, sizeof pair))
            return -EFAULT;
    }
    return 0;
}

/* Keys whose value is a set of bits, of which all that are asked for must be there. */
static bool hwprobe_matches(const struct guest_hwprobe *asked, const struct guest_hwprobe *have)
{
    if (have->key == HWPROBE_BASE_BEHAVIOR || have->key == HWPROBE_IMA_EXT_0 ||
        have->key == HWPROBE_CPUPERF_0)
        return (have->value & asked->value) == asked->value;
    return have->value == asked->value;
}

/* All processors are the same: the set stays as it is, or is emptied. */
static int64_t hwprobe_which(const struct rv_hart *h, const uint64_t a[SYSCALL_ARGS])
{
    cpu_set_t set;
    bool all = true;
    if (!a[2] || !a[3])
        return -EINVAL;
    int64_t rc = hwprobe_cpus(a[3], a[2], &set);
    if (rc)
        return rc;
    for (unsigned i = 0; !CPU_COUNT(&set) && i < sysconf(_SC_NPROCESSORS_ONLN); i++)
        CPU_SET(i, &set);
    for (uint64_t i = 0; i < a[1]; i++) {
        struct guest_hwprobe asked;
        uint64_t at = a[0] + i * sizeof asked;
        if (!guest_read(&asked, at, sizeof asked))
            return -EFAULT;
        struct guest_hwprobe have = asked;
        hwprobe_answer(h, &have);
        all = all && have.key >= 0 && hwprobe_matches(&asked, &have);
        if (have.key < 0 && !guest_write(at, &have, sizeof have))
            return -EFAULT;
    }
    if (!all)
        CPU_ZERO(&set);
    return guest_write(a[3], &set, a[2] < sizeof set ? a[2] : sizeof set) ? 0 : -EFAULT;
}

int64_t sys_riscv_hwprobe(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    switch ((uint32_t)a[4]) {
    case 0:
        return hwprobe_values(t->hart, a);
    case HWPROBE_WHICH_CPUS:
        return hwprobe_which(t->hart, a);
    default:
        return -EINVAL;
    }
}
