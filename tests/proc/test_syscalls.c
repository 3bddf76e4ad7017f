/* Dispatch, and the conversions of handlers against this host's kernel. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/guest_abi.h"
#include "rig.h"

#define NOWHERE UINT64_C(16)

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_init(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_fini(&rig);
    return 0;
}

/* ---- dispatch ---- */

static void test_results(void **state)
{
    (void)state;
    assert_int_equal(rig_call(&rig, GUEST_getppid), getppid());
    assert_int_equal(rig.thread.hart->pc, 0x10004);
    assert_int_equal(rig_call(&rig, GUEST_write, 1, NOWHERE, 1), -EFAULT);
    assert_int_equal(rig_call(&rig, 5000), -ENOSYS);
    assert_int_equal(rig_call(&rig, GUEST_rseq), -ENOSYS);
    assert_int_equal(rig_call(&rig, GUEST_rt_sigreturn), 12345);
}

static void test_interrupted(void **state)
{
    (void)state;
    rig_interrupt = true;
    assert_int_equal(rig_call(&rig, GUEST_getppid, 99), 99);
    assert_int_equal(rig.thread.hart->pc, 0x10000);
    assert_int_equal(rig_call(&rig, GUEST_getppid), getppid());
    assert_int_equal(rig.thread.hart->pc, 0x10004);
}

/* ---- files ---- */

static void test_stat(void **state)
{
    (void)state;
    struct guest_stat g;
    struct stat s;
    assert_int_equal(stat("/dev/null", &s), 0);
    assert_int_equal(rig_call(&rig, GUEST_newfstatat, (uint64_t)AT_FDCWD, P("/dev/null"), P(&g), 0),
                     0);
    assert_int_equal(g.dev, s.st_dev);
    assert_int_equal(g.ino, s.st_ino);
    assert_int_equal(g.mode, s.st_mode);
    assert_int_equal(g.nlink, s.st_nlink);
    assert_int_equal(g.rdev, s.st_rdev);
    assert_int_equal(g.blksize, s.st_blksize);
    assert_int_equal(g.mtime, s.st_mtim.tv_sec);
    assert_int_equal(g.ctime_nsec, s.st_ctim.tv_nsec);
    int fd = open("/etc/passwd", O_RDONLY);
    assert_int_equal(fstat(fd, &s), 0);
    assert_int_equal(rig_call(&rig, GUEST_fstat, (uint64_t)fd, P(&g)), 0);
    assert_int_equal(g.size, s.st_size);
    assert_int_equal(g.blocks, s.st_blocks);
    assert_int_equal(rig_call(&rig, GUEST_fstat, (uint64_t)fd, NOWHERE), -EFAULT);
    assert_int_equal(rig_call(&rig, GUEST_fstat, (uint64_t)-1, P(&g)), -EBADF);
    close(fd);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_own_descriptors(void **state)
{
    (void)state;
    for (int fd = 500; fd < 510; fd++)
        assert_int_equal(dup2(0, fd), fd);
    rig.process.self_fd = 505;
    rig.process.exe_fd = 502;
    assert_int_equal(rig_call(&rig, GUEST_close, 505), -EBADF);
    assert_int_equal(rig_call(&rig, GUEST_dup, 502), -EBADF);
    assert_int_equal(rig_call(&rig, GUEST_dup3, 500, 505, 0), -EBADF);
    assert_int_equal(rig_call(&rig, GUEST_dup3, 502, 600, 0), -EBADF);
    assert_int_equal(rig_call(&rig, GUEST_fcntl, 502, F_GETFL), -EBADF);
    assert_int_equal(rig_call(&rig, GUEST_close_range, 501, 508, 0), 0);
    for (int fd = 500; fd < 510; fd++)
        assert_int_equal(is_open(fd), fd == 500 || fd == 502 || fd == 505 || fd == 509);
    assert_int_equal(rig_call(&rig, GUEST_close_range, 502, 502, 0), 0);
    assert_int_equal(rig_call(&rig, GUEST_close_range, 505, 600, 0), 0);
    assert_true(is_open(502) && is_open(505) && !is_open(509));
    assert_int_equal(rig_call(&rig, GUEST_close_range, 7, 6, 0), -EINVAL);
    rig.process.self_fd = rig.process.exe_fd = -1;
    assert_int_equal(rig_call(&rig, GUEST_close_range, 500, 600, 0), 0);
}

/* ---- waiting ---- */

static void test_epoll(void **state)
{
    (void)state;
    int pipe_fd[2];
    struct guest_epoll_event e = {.events = EPOLLIN, .data = 0x1122334455667788}, got[3] = {0};
    assert_int_equal(pipe(pipe_fd), 0);
    uint64_t in = (uint64_t)pipe_fd[0];
    uint64_t ep = (uint64_t)rig_call(&rig, GUEST_epoll_create1, 0);
    assert_int_equal(rig_call(&rig, GUEST_epoll_ctl, ep, EPOLL_CTL_ADD, in, P(&e)), 0);
    assert_int_equal(rig_call(&rig, GUEST_epoll_ctl, ep, EPOLL_CTL_MOD, in, NOWHERE), -EFAULT);
    assert_int_equal(rig_call(&rig, GUEST_epoll_pwait, ep, P(got), 3, 0, 0, 8), 0);
    assert_int_equal(write(pipe_fd[1], "x", 1), 1);
    assert_int_equal(rig_call(&rig, GUEST_epoll_pwait, ep, P(got), 3, 0, 0, 8), 1);
    assert_int_equal(got[0].events, EPOLLIN);
    assert_true(got[0].data == e.data);
    assert_int_equal(rig_call(&rig, GUEST_epoll_pwait2, ep, P(got), 3, 0, 0, 8), 1);
    assert_int_equal(rig_call(&rig, GUEST_epoll_pwait, ep, NOWHERE, 3, 0, 0, 8), -EFAULT);
    assert_int_equal(rig_call(&rig, GUEST_epoll_pwait, ep, P(got), 0, 0, 0, 8), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_epoll_pwait, ep, P(got), UINT32_MAX, 0, 0, 8), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_epoll_ctl, ep, EPOLL_CTL_DEL, in, 0), 0);
    close((int)ep);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

static void test_masks(void **state)
{
    (void)state;
    const struct timespec none = {0};
    const uint64_t set = 0x200;
    const struct guest_sigset_arg arg = {P(&set), 8}, no_set = {0, 8}, odd = {P(&set), 4};
    assert_int_equal(rig_call(&rig, GUEST_ppoll, 0, 0, P(&none), P(&set), 8), 0);
    assert_string_equal(rig_log.name, "mask");
    assert_int_equal(rig_call(&rig, GUEST_ppoll, 0, 0, P(&none), P(&set), 4), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_ppoll, 0, 0, P(&none), NOWHERE, 8), -EFAULT);
    assert_int_equal(rig_call(&rig, GUEST_ppoll, 0, 0, P(&none), 0, 0), 0);
    assert_int_equal(rig_call(&rig, GUEST_pselect6, 0, 0, 0, 0, P(&none), P(&arg)), 0);
    assert_string_equal(rig_log.name, "mask");
    assert_int_equal(rig_call(&rig, GUEST_pselect6, 0, 0, 0, 0, P(&none), P(&no_set)), 0);
    assert_int_equal(rig_call(&rig, GUEST_pselect6, 0, 0, 0, 0, P(&none), P(&odd)), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_pselect6, 0, 0, 0, 0, P(&none), NOWHERE), -EFAULT);
    int64_t fd = rig_call(&rig, GUEST_signalfd4, (uint64_t)-1, P(&set), 8, 0);
    assert_true(fd >= 0);
    close((int)fd);
}

/* ---- System V ---- */

static void test_semaphores(void **state)
{
    (void)state;
    struct guest_semid_ds d;
    int64_t id = rig_call(&rig, GUEST_semget, IPC_PRIVATE, 3, 0600);
    assert_true(id >= 0);
    uint64_t sem = (uint64_t)id;
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 0, IPC_STAT, P(&d)), 0);
    assert_int_equal(d.nsems, 3);
    assert_int_equal(d.perm.mode & 0777, 0600);
    assert_int_equal(d.otime, 0);
    assert_true(d.ctime > 1500000000);
    d.perm.mode = 0640;
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 0, IPC_SET, P(&d)), 0);
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 0, IPC_STAT, P(&d)), 0);
    assert_int_equal(d.perm.mode & 0777, 0640);
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 0, IPC_SET, NOWHERE), -EFAULT);
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 1, SETVAL, 5), 0);
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 1, GETVAL), 5);
    assert_int_equal(rig_call(&rig, GUEST_semctl, sem, 0, IPC_RMID), 0);
}

/* ---- memory ---- */

static void test_memory(void **state)
{
    (void)state;
    rig_call(&rig, GUEST_mmap, 0x1000, 2, PROT_READ, MAP_PRIVATE | GUEST_MAP_UNKNOWN, 4, 5);
    assert_string_equal(rig_log.name, "mmap");
    assert_int_equal(rig_log.a[3], MAP_PRIVATE);
    assert_int_equal(rig_call(&rig, GUEST_pkey_mprotect, 0x1000, 1, PROT_READ, (uint64_t)-1), 0);
    assert_string_equal(rig_log.name, "mprotect");
    assert_int_equal(rig_call(&rig, GUEST_pkey_mprotect, 0x1000, 1, PROT_READ, 1), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_pkey_alloc, 0, 0), -ENOSPC);
    assert_int_equal(rig_call(&rig, GUEST_riscv_flush_icache, 0x1000, 0x2000, 0), 0);
    assert_int_equal(rig_log.a[0], 0x1000);
    assert_int_equal(rig_call(&rig, GUEST_riscv_flush_icache, 0, 0, 0), 0);
    assert_true(rig_log.a[1] == MM_HIGH);
    assert_int_equal(rig_call(&rig, GUEST_riscv_flush_icache, 0, 0, 2), -EINVAL);
}

/* ---- processes ---- */

static void test_clone(void **state)
{
    (void)state;
    const struct thread_clone *c = &rig_log.clone;
    assert_int_equal(rig_call(&rig, GUEST_clone, CLONE_VM | SIGCHLD, 1, 2, 3, 4), 4711);
    assert_int_equal(c->flags, CLONE_VM);
    assert_int_equal(c->exit_signal, SIGCHLD);
    assert_int_equal(c->stack, 1);
    assert_int_equal(c->parent_tid, 2);
    assert_int_equal(c->tls, 3);
    assert_int_equal(c->child_tid, 4);
}

static void test_clone3(void **state)
{
    (void)state;
    const struct thread_clone *c = &rig_log.clone;
    struct {
        struct guest_clone_args a;
        uint64_t more;
    } x = {.a = {.flags = CLONE_VM, .exit_signal = SIGCHLD, .stack = 0x1000, .stack_size = 0x800}};
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), sizeof x.a), 4711);
    assert_int_equal(c->stack, 0x1800);
    assert_int_equal(c->exit_signal, SIGCHLD);
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), sizeof x), 4711);
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), 64), 4711);
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), 56), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), 5000), -E2BIG);
    assert_int_equal(rig_call(&rig, GUEST_clone3, NOWHERE, sizeof x.a), -EFAULT);
    x.more = 1;
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), sizeof x), -E2BIG);
    x.a.stack_size = 0;
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), sizeof x.a), -EINVAL);
    x.a.stack = 0;
    x.a.flags = CLONE_THREAD;
    assert_int_equal(rig_call(&rig, GUEST_clone3, P(&x), sizeof x.a), -EINVAL);
}

static void test_tid_address(void **state)
{
    (void)state;
    uint64_t told = 0;
    assert_int_equal(rig_call(&rig, GUEST_set_tid_address, 0x1230), rig.thread.tid);
    assert_int_equal(rig.thread.clear_child_tid, 0x1230);
    assert_int_equal(rig_call(&rig, GUEST_prctl, PR_GET_TID_ADDRESS, P(&told)), 0);
    assert_int_equal(told, 0x1230);
}

static void test_limits(void **state)
{
    (void)state;
    struct rlimit before, l = {1 << 20, 1 << 21}, got;
    getrlimit(RLIMIT_AS, &before);
    assert_int_equal(rig_call(&rig, GUEST_prlimit64, 0, RLIMIT_AS, P(&l), P(&got)), 0);
    assert_true(got.rlim_cur == before.rlim_cur);
    assert_int_equal(rig_call(&rig, GUEST_getrlimit, RLIMIT_AS, P(&got)), 0);
    assert_true(got.rlim_cur == 1 << 20 && got.rlim_max == 1 << 21);
    getrlimit(RLIMIT_AS, &got);
    assert_true(got.rlim_cur == before.rlim_cur);
    l.rlim_cur = 1 << 22;
    assert_int_equal(rig_call(&rig, GUEST_setrlimit, RLIMIT_AS, P(&l)), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_setrlimit, RLIMIT_AS, NOWHERE), -EFAULT);
    getrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rig_call(&rig, GUEST_getrlimit, RLIMIT_NOFILE, P(&got)), 0);
    assert_true(got.rlim_cur == before.rlim_cur);
}

/* ---- the system ---- */

static void test_uname(void **state)
{
    (void)state;
    struct utsname u;
    assert_int_equal(rig_call(&rig, GUEST_uname, P(&u)), 0);
    assert_string_equal(u.machine, "riscv64");
    assert_string_equal(u.sysname, "Linux");
    assert_int_equal(rig_call(&rig, GUEST_uname, NOWHERE), -EFAULT);
}

static void test_clock(void **state)
{
    (void)state;
    struct timespec now = {0};
    assert_int_equal(rig_call(&rig, GUEST_clock_gettime, CLOCK_REALTIME, P(&now)), 0);
    assert_true(now.tv_sec > 1500000000);
    assert_int_equal(rig_call(&rig, GUEST_clock_gettime, 99, P(&now)), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_clock_gettime, CLOCK_REALTIME, NOWHERE), -EFAULT);
}

static void test_hwprobe(void **state)
{
    (void)state;
    struct guest_hwprobe p[] = {{3, 9}, {4, 9}, {5, 9}, {6, 9}, {7, 9}, {12345, 9}};
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(p), 6, 0, 0, 0), 0);
    assert_int_equal(p[0].value, 1);
    /* FD, C, Zba, Zbb, Zbs, Zicboz, Zbc; Zfa; Zacas, Zicond; Zcb. */
    assert_int_equal(p[1].value & 0xff, 0xfb);
    assert_true(p[1].value >> 32 & 1 && p[1].value >> 34 & 1 && p[1].value >> 44 & 1);
    assert_int_equal(p[1].value >> 2 & 1, 0);
    assert_int_equal(p[2].value, 3);
    assert_int_equal(p[3].value, 64);
    assert_true(p[4].value == MM_HIGH - 1);
    assert_int_equal(p[5].key, -1);
    assert_int_equal(p[5].value, 0);
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(p), 6, 0, 0, 8), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, NOWHERE, 1, 0, 0, 0), -EFAULT);
    uint64_t cpus = 1, none = 0;
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(p), 1, 8, P(&cpus), 0), 0);
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(p), 1, 8, P(&none), 0), -EINVAL);
}

static void test_hwprobe_which(void **state)
{
    (void)state;
    struct guest_hwprobe p[] = {{4, 1 << 3}}, v[] = {{4, 1 << 2}};
    uint64_t cpus = 0;
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(p), 1, 8, P(&cpus), 1), 0);
    assert_int_equal(cpus & 1, 1);
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(v), 1, 8, P(&cpus), 1), 0);
    assert_int_equal(cpus, 0);
    assert_int_equal(rig_call(&rig, GUEST_riscv_hwprobe, P(p), 1, 0, 0, 1), -EINVAL);
}

static void test_prctl(void **state)
{
    (void)state;
    char name[16] = "";
    const uint64_t auxv[] = {6, 4096, 0, 0};
    uint64_t got[4] = {0};
    rig.process.auxv = P(auxv);
    rig.process.auxv_size = sizeof auxv;
    assert_int_equal(rig_call(&rig, GUEST_prctl, PR_GET_NAME, P(name)), 0);
    assert_true(name[0]);
    assert_int_equal(rig_call(&rig, GUEST_prctl, 59, 1), -EINVAL);
    assert_int_equal(rig_call(&rig, GUEST_prctl, PR_SET_MM, 1), -EPERM);
    assert_int_equal(rig_call(&rig, GUEST_prctl, 0x41555856, P(got), sizeof got), sizeof auxv);
    assert_memory_equal(got, auxv, sizeof auxv);
    assert_int_equal(rig_call(&rig, GUEST_prctl, 71, 0, 0), 0);
    assert_int_equal(rig_call(&rig, GUEST_prctl, 71, 2, 0), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),     cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_stat),        cmocka_unit_test(test_own_descriptors),
        cmocka_unit_test(test_epoll),       cmocka_unit_test(test_masks),
        cmocka_unit_test(test_semaphores),  cmocka_unit_test(test_memory),
        cmocka_unit_test(test_clone),       cmocka_unit_test(test_clone3),
        cmocka_unit_test(test_tid_address), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_uname),       cmocka_unit_test(test_clock),
        cmocka_unit_test(test_hwprobe),     cmocka_unit_test(test_hwprobe_which),
        cmocka_unit_test(test_prctl),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
