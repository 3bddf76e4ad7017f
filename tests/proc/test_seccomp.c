/* Classic BPF: what is refused, what it computes; and what filters do to calls. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "proc/bpf.h"
#include "proc/guest_abi.h"
#include "rig.h"

#define S(code, k) BPF_STMT(code, k)
#define J(code, k, jt, jf) BPF_JUMP(code, k, jt, jf)
#define RET(k) BPF_STMT(BPF_RET | BPF_K, k)
#define LD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define PROGRAM(name, ...) const struct sock_filter name[] = {__VA_ARGS__}

/* ---- checking ---- */

#define assert_refused(...)                                    \
    do {                                                       \
        PROGRAM(refused, __VA_ARGS__);                         \
        assert_false(bpf_check(refused, ARRAY_SIZE(refused))); \
    } while (0)
#define assert_taken(...)                                 \
    do {                                                  \
        PROGRAM(taken, __VA_ARGS__);                      \
        assert_true(bpf_check(taken, ARRAY_SIZE(taken))); \
    } while (0)

static void test_check_insns(void **state)
{
    (void)state;
    assert_taken(RET(0));
    assert_taken(S(BPF_RET | BPF_A, 0));
    assert_refused(S(BPF_RET | BPF_X, 0));
    assert_refused(S(BPF_LD | BPF_IMM, 0)); /* no end */
    assert_taken(S(BPF_LD | BPF_W | BPF_ABS, 60), RET(0));
    assert_refused(S(BPF_LD | BPF_W | BPF_ABS, 64), RET(0));
    assert_refused(S(BPF_LD | BPF_W | BPF_ABS, 2), RET(0));
    assert_refused(S(BPF_LD | BPF_H | BPF_ABS, 0), RET(0));
    assert_refused(S(BPF_LD | BPF_B | BPF_ABS, 0), RET(0));
    assert_refused(S(BPF_LD | BPF_W | BPF_IND, 0), RET(0));
    assert_refused(S(BPF_LDX | BPF_B | BPF_MSH, 0), RET(0));
    assert_taken(S(BPF_LDX | BPF_W | BPF_LEN, 0), RET(0));
    assert_refused(S(BPF_ALU | BPF_DIV | BPF_K, 0), RET(0));
    assert_taken(S(BPF_ALU | BPF_DIV | BPF_X, 0), RET(0));
    assert_refused(S(BPF_ALU | BPF_MOD | BPF_K, 3), RET(0));
    assert_taken(S(BPF_ALU | BPF_LSH | BPF_K, 31), RET(0));
    assert_refused(S(BPF_ALU | BPF_LSH | BPF_K, 32), RET(0));
    assert_refused(S(0x100, 0), RET(0));
    assert_refused(S(BPF_MISC | 0x40, 0), RET(0));
}

static void test_check_jumps(void **state)
{
    (void)state;
    assert_taken(S(BPF_JMP | BPF_JA, 0), RET(0));
    assert_refused(S(BPF_JMP | BPF_JA, 1), RET(0));
    assert_refused(S(BPF_JMP | BPF_JA, UINT32_MAX), RET(0));
    assert_taken(J(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), RET(0), RET(1));
    assert_refused(J(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0), RET(0), RET(1));
    assert_refused(J(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2), RET(0), RET(1));
}

static void test_check_words(void **state)
{
    (void)state;
    assert_taken(S(BPF_ST, 15), S(BPF_LD | BPF_MEM, 15), RET(0));
    assert_refused(S(BPF_ST, 16), RET(0));
    assert_refused(S(BPF_LD | BPF_MEM, 0), RET(0));
    assert_refused(S(BPF_ST, 1), S(BPF_LDX | BPF_MEM, 2), RET(0));
    /* Written on one of two ways only. */
    assert_refused(J(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), S(BPF_ST, 3), S(BPF_LD | BPF_MEM, 3),
                   RET(0));
    /* On both. */
    assert_taken(J(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0), S(BPF_ST, 3), S(BPF_JMP | BPF_JA, 1),
                 S(BPF_STX, 3), S(BPF_LD | BPF_MEM, 3), RET(0));
}

/* ---- running ---- */

static uint32_t run(const struct sock_filter *f, unsigned len)
{
    const struct seccomp_data data = {.nr = 63,
                                      .arch = GUEST_AUDIT_ARCH,
                                      .instruction_pointer = 0x1122334455667788,
                                      .args = {0xfedcba9876543210}};
    assert_true(bpf_check(f, len));
    return bpf_run(f, &data);
}

#define assert_returns(value, ...)                                    \
    do {                                                              \
        PROGRAM(program, __VA_ARGS__);                                \
        assert_int_equal(run(program, ARRAY_SIZE(program)), (value)); \
    } while (0)
#define RET_A S(BPF_RET | BPF_A, 0)

static void test_run_loads(void **state)
{
    (void)state;
    assert_returns(63, LD(nr), RET_A);
    assert_returns(GUEST_AUDIT_ARCH, LD(arch), RET_A);
    assert_returns(0x55667788, LD(instruction_pointer), RET_A);
    assert_returns(0x11223344, S(BPF_LD | BPF_W | BPF_ABS, 12), RET_A);
    assert_returns(0x76543210, LD(args[0]), RET_A);
    assert_returns(64, S(BPF_LD | BPF_W | BPF_LEN, 0), RET_A);
    assert_returns(7, S(BPF_LDX | BPF_IMM, 7), S(BPF_MISC | BPF_TXA, 0), RET_A);
    assert_returns(9, S(BPF_LD | BPF_IMM, 9), S(BPF_ST, 2), S(BPF_LD | BPF_IMM, 1),
                   S(BPF_LDX | BPF_MEM, 2), S(BPF_MISC | BPF_TXA, 0), RET_A);
}

static uint32_t alu(unsigned op, uint32_t a, uint32_t b)
{
    PROGRAM(with_x, S(BPF_LD | BPF_IMM, b), S(BPF_MISC | BPF_TAX, 0), S(BPF_LD | BPF_IMM, a),
            S((uint16_t)(BPF_ALU | op | BPF_X), 0), RET_A);
    PROGRAM(with_k, S(BPF_LD | BPF_IMM, a), S((uint16_t)(BPF_ALU | op | BPF_K), b), RET_A);
    uint32_t x = run(with_x, ARRAY_SIZE(with_x));
    if (bpf_check(with_k, ARRAY_SIZE(with_k)))
        assert_int_equal(run(with_k, ARRAY_SIZE(with_k)), x);
    return x;
}

static void test_run_alu(void **state)
{
    (void)state;
    assert_int_equal(alu(BPF_ADD, UINT32_MAX, 2), 1);
    assert_int_equal(alu(BPF_SUB, 1, 2), UINT32_MAX);
    assert_int_equal(alu(BPF_MUL, 0x10000, 0x10001), 0x10000);
    assert_int_equal(alu(BPF_DIV, 7, 2), 3);
    assert_int_equal(alu(BPF_DIV, 7, 0), 0); /* ends the program */
    assert_int_equal(alu(BPF_AND, 6, 3), 2);
    assert_int_equal(alu(BPF_OR, 6, 3), 7);
    assert_int_equal(alu(BPF_XOR, 6, 3), 5);
    assert_int_equal(alu(BPF_LSH, 3, 31), 0x80000000);
    assert_int_equal(alu(BPF_RSH, 0x80000000, 31), 1);
    assert_returns(UINT32_MAX, S(BPF_LD | BPF_IMM, 1), S(BPF_ALU | BPF_NEG, 0), RET_A);
}

static bool jumps(unsigned op, uint32_t a, uint32_t b)
{
    PROGRAM(program, S(BPF_LD | BPF_IMM, a), J((uint16_t)(BPF_JMP | op | BPF_K), b, 1, 0), RET(0),
            RET(1));
    return run(program, ARRAY_SIZE(program));
}

static void test_run_jumps(void **state)
{
    (void)state;
    assert_true(jumps(BPF_JEQ, 5, 5) && !jumps(BPF_JEQ, 5, 6));
    assert_true(jumps(BPF_JGT, 0x80000000, 5) && !jumps(BPF_JGT, 5, 5));
    assert_true(jumps(BPF_JGE, 5, 5) && !jumps(BPF_JGE, 4, 5));
    assert_true(jumps(BPF_JSET, 6, 2) && !jumps(BPF_JSET, 6, 1));
    assert_returns(2, S(BPF_JMP | BPF_JA, 1), RET(1), RET(2));
}

/* ---- filters ---- */

/* Filters are never freed (seccomp.h); a process takes them along, a test loses them. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:seccomp_read\n";
}

static int64_t install(struct rig *r, unsigned flags, const struct sock_filter *f, unsigned len)
{
    const struct sock_fprog prog = {.len = (unsigned short)len,
                                    .filter = (struct sock_filter *)(uintptr_t)f};
    return rig_call(r, GUEST_seccomp, SECCOMP_SET_MODE_FILTER, flags, P(&prog));
}

/* getppid gets `action`, all else is allowed. */
static int64_t install_for_getppid(struct rig *r, uint32_t action)
{
    PROGRAM(f, LD(arch), J(BPF_JMP | BPF_JEQ | BPF_K, GUEST_AUDIT_ARCH, 1, 0),
            RET(SECCOMP_RET_KILL_PROCESS), LD(nr),
            J(BPF_JMP | BPF_JEQ | BPF_K, GUEST_getppid, 0, 1), RET(action), RET(SECCOMP_RET_ALLOW));
    return install(r, 0, f, ARRAY_SIZE(f));
}

static void filter_rig(struct rig *r)
{
    rig_init(r);
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
}

static void test_filter(void **state)
{
    (void)state;
    struct rig r;
    filter_rig(&r);
    assert_int_equal(rig_call(&r, GUEST_prctl, PR_GET_SECCOMP), SECCOMP_MODE_DISABLED);
    assert_int_equal(install_for_getppid(&r, SECCOMP_RET_ERRNO | EXDEV), 0);
    assert_int_equal(rig_call(&r, GUEST_getppid), -EXDEV);
    assert_int_equal(rig_call(&r, GUEST_getpid), getpid());
    assert_int_equal(rig_call(&r, GUEST_prctl, PR_GET_SECCOMP), SECCOMP_MODE_FILTER);
    /* Another one: the stricter counts, and of equals the newer. */
    assert_int_equal(install_for_getppid(&r, SECCOMP_RET_LOG), 0);
    assert_int_equal(rig_call(&r, GUEST_getppid), -EXDEV);
    assert_int_equal(install_for_getppid(&r, SECCOMP_RET_ERRNO | EPERM), 0);
    assert_int_equal(rig_call(&r, GUEST_getppid), -EPERM);
    /* Calls that there are not are asked about, too. */
    PROGRAM(all, RET(SECCOMP_RET_TRACE));
    assert_int_equal(install(&r, 0, all, 1), 0);
    assert_int_equal(rig_call(&r, 1000), -ENOSYS);
    assert_int_equal(rig_call(&r, GUEST_getpid), -ENOSYS);
    rig_fini(&r);
}

static void test_filter_refused(void **state)
{
    (void)state;
    struct rig r;
    filter_rig(&r);
    PROGRAM(good, RET(SECCOMP_RET_ALLOW));
    PROGRAM(bad, S(BPF_RET | BPF_X, 0));
    assert_int_equal(install(&r, 0, good, 0), -EINVAL);
    assert_int_equal(install(&r, 0, bad, 1), -EINVAL);
    assert_int_equal(install(&r, 0, (const struct sock_filter *)16, 1), -EFAULT);
    assert_int_equal(install(&r, SECCOMP_FILTER_FLAG_NEW_LISTENER, good, 1), -EINVAL);
    assert_int_equal(rig_call(&r, GUEST_seccomp, SECCOMP_SET_MODE_FILTER, 0, 16), -EFAULT);
    assert_int_equal(seccomp_mode(&r.thread), SECCOMP_MODE_DISABLED);
    uint32_t action = SECCOMP_RET_TRAP;
    assert_int_equal(rig_call(&r, GUEST_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, P(&action)), 0);
    action = SECCOMP_RET_USER_NOTIF;
    assert_int_equal(rig_call(&r, GUEST_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, P(&action)),
                     -EOPNOTSUPP);
    rig_fini(&r);
}

static void test_threads(void **state)
{
    (void)state;
    struct rig r;
    struct thread other = {.tid = 77};
    filter_rig(&r);
    PROGRAM(f, RET(SECCOMP_RET_ALLOW));
    assert_int_equal(install(&r, 0, f, 1), 0);
    other.process = &r.process;
    other.hart = r.thread.hart;
    r.thread.next = &other;
    seccomp_inherit(&other, &r.thread);
    assert_int_equal(seccomp_mode(&other), SECCOMP_MODE_FILTER);
    assert_int_equal(install(&r, SECCOMP_FILTER_FLAG_TSYNC, f, 1), 0);
    assert_ptr_equal(other.seccomp.filter, r.thread.seccomp.filter);
    /* The other one goes its own way. */
    struct thread *all = r.process.threads;
    const struct sock_fprog prog = {.len = 1, .filter = (struct sock_filter *)(uintptr_t)f};
    assert_int_equal(seccomp_set(&other, SECCOMP_SET_MODE_FILTER, 0, P(&prog)), 0);
    assert_ptr_equal(all, &r.thread);
    assert_int_equal(install(&r, SECCOMP_FILTER_FLAG_TSYNC, f, 1), 77);
    assert_int_equal(install(&r, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, f, 1),
                     -ESRCH);
    rig_fini(&r);
}

/* ---- signals ---- */

static siginfo_t got;

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    got = *info;
}

static void test_trap(void **state)
{
    (void)state;
    struct rig r;
    const struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
    filter_rig(&r);
    sigaction(SIGSYS, &action, NULL);
    r.thread.signals.actions->action[SIGSYS].handler = 0x4000;
    assert_int_equal(install_for_getppid(&r, SECCOMP_RET_TRAP | 99), 0);
    assert_int_equal(rig_call(&r, GUEST_getppid, 31), 31);
    assert_int_equal(got.si_signo, SIGSYS);
    assert_int_equal(got.si_code, 1);
    assert_int_equal(got.si_errno, 99);
    assert_int_equal(got.si_syscall, GUEST_getppid);
    assert_int_equal(got.si_arch, GUEST_AUDIT_ARCH);
    assert_ptr_equal(got.si_call_addr, 0x10004);
    r.thread.signals.actions->action[SIGSYS].handler = 0;
    rig_fini(&r);
}

/* What becomes of a process that makes the call. */
static int fate(struct rig *r, uint64_t number)
{
    int status;
    pid_t child = fork();
    if (!child) {
        rig_call(r, number);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_kill(void **state)
{
    (void)state;
    static const uint32_t actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD,
                                       SECCOMP_RET_TRAP, 0x12340000};
    for (unsigned i = 0; i < ARRAY_SIZE(actions); i++) {
        struct rig r;
        filter_rig(&r);
        assert_int_equal(install_for_getppid(&r, actions[i]), 0);
        int status = fate(&r, GUEST_getppid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
        rig_fini(&r);
    }
}

static void test_strict(void **state)
{
    (void)state;
    struct rig r;
    filter_rig(&r);
    assert_int_equal(rig_call(&r, GUEST_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT), 0);
    assert_int_equal(rig_call(&r, GUEST_read, (uint64_t)-1), -EBADF);
    int status = fate(&r, GUEST_exit);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = fate(&r, GUEST_getpid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_insns), cmocka_unit_test(test_check_jumps),
        cmocka_unit_test(test_check_words), cmocka_unit_test(test_run_loads),
        cmocka_unit_test(test_run_alu),     cmocka_unit_test(test_run_jumps),
        cmocka_unit_test(test_filter),      cmocka_unit_test(test_filter_refused),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_trap),
        cmocka_unit_test(test_kill),        cmocka_unit_test(test_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
