/* --strace: the lines of calls. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/guest_abi.h"
#include "proc/strace.h"
#include "rig.h"

static struct rig rig;
static char out[8192];

/* The line of a call, without the thread's id and the end of the line. */
static const char *line_of(uint64_t number, const uint64_t a[6], int64_t result)
{
    int pipe_fd[2], err = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipe_fd), 0);
    dup2(pipe_fd[1], STDERR_FILENO);
    rig_enter();
    strace_leave(&rig.thread, number, a, result);
    rig_leave();
    dup2(err, STDERR_FILENO);
    close(pipe_fd[1]);
    ssize_t n = read(pipe_fd[0], out, sizeof out - 1);
    close(pipe_fd[0]);
    close(err);
    assert_true(n > 0 && out[n - 1] == '\n');
    out[n - 1] = 0;
    int id = 0, skip = 0;
    assert_int_equal(sscanf(out, "%d %n", &id, &skip), 1);
    assert_int_equal(id, rig.thread.tid);
    return out + skip;
}

#define assert_line(text, number, result, ...) \
    assert_string_equal(line_of(number, (const uint64_t[6]){__VA_ARGS__}, result), text)

static void test_numbers(void **state)
{
    (void)state;
    assert_line("getpid() = 42", GUEST_getpid, 42, 0);
    assert_line("close(-1) = -1 EBADF (Bad file descriptor)", GUEST_close, -EBADF, (uint64_t)-1);
    assert_line("mkdirat(AT_FDCWD, \"x\", 0755) = 0", GUEST_mkdirat, 0, (uint64_t)AT_FDCWD, P("x"),
                0755);
    assert_line("lseek(3, -1, SEEK_END) = 9", GUEST_lseek, 9, 3, (uint64_t)-1, SEEK_END);
    assert_line("brk(NULL) = 0x12000", GUEST_brk, 0x12000, 0);
    assert_line("kill(1, SIGTERM) = 0", GUEST_kill, 0, 1, SIGTERM);
    assert_line("syscall_1000(0x1, 0x2, 0, ...) = -1 ENOSYS (Function not implemented)", 1000,
                -ENOSYS, 1, 2);
    assert_line("read(0, 0x10, 5) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
                GUEST_read, -THREAD_RESTART, 0, 16, 5);
    assert_line("rt_sigreturn() = ?", GUEST_rt_sigreturn, SYSCALL_NO_RESULT, 0);
}

static void test_flags(void **state)
{
    (void)state;
    assert_line("openat(AT_FDCWD, \"f\", O_RDONLY, 0) = 3", GUEST_openat, 3, (uint64_t)AT_FDCWD,
                P("f"), 0);
    assert_line("openat(5, \"f\", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 3", GUEST_openat, 3, 5, P("f"),
                O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_line("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = "
                "0x3fffff000",
                GUEST_mmap, 0x3fffff000, 0, 4096, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);
    assert_line("mprotect(0x1000, 4096, PROT_NONE) = 0", GUEST_mprotect, 0, 0x1000, 4096, 0);
    assert_line("futex(0x1000, FUTEX_WAKE|FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0) = 0", GUEST_futex, 0,
                0x1000, 129, 1);
    assert_line("clone(CLONE_VM|CLONE_VFORK|SIGCHLD, NULL, NULL, NULL, NULL) = 7", GUEST_clone, 7,
                CLONE_VM | CLONE_VFORK | SIGCHLD);
    assert_line("ioctl(1, TCGETS, 0x1000) = 0", GUEST_ioctl, 0, 1, 0x5401, 0x1000);
    assert_line("ioctl(1, 0x1234, 0) = 0", GUEST_ioctl, 0, 1, 0x1234);
    assert_line("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3", GUEST_socket, 3, AF_INET,
                SOCK_STREAM | SOCK_CLOEXEC);
    assert_line("faccessat2(AT_FDCWD, \"f\", F_OK, AT_EACCESS|0x1) = 0", GUEST_faccessat2, 0,
                (uint64_t)AT_FDCWD, P("f"), F_OK, AT_EACCESS | 1);
}

static void test_data(void **state)
{
    (void)state;
    const struct timespec ts = {1, 500};
    const uint64_t set = UINT64_C(1) << (SIGCHLD - 1) | 1, most = ~set;
    const struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/tmp/s"};
    const struct pollfd pfd = {.fd = 4, .events = POLLIN, .revents = POLLHUP};
    const struct guest_stat s = {.mode = 0100644, .size = 12};
    const int fds[2] = {5, 6};
    assert_line("write(1, \"a\\tb\\0001\\\"\", 6) = 6", GUEST_write, 6, 1, P("a\tb\0001\""), 6);
    assert_line("read(0, \"abc\", 100) = 3", GUEST_read, 3, 0, P("abc"), 100);
    assert_line("write(1, \"0123456789012345678901234567890\\n\"..., 34) = 34", GUEST_write, 34, 1,
                P("0123456789012345678901234567890\nxx"), 34);
    assert_line("nanosleep({tv_sec=1, tv_nsec=500}, NULL) = 0", GUEST_nanosleep, 0, P(&ts));
    assert_line("rt_sigprocmask(SIG_BLOCK, [HUP CHLD], NULL, 8) = 0", GUEST_rt_sigprocmask, 0, 0,
                P(&set), 0, 8);
    assert_line("rt_sigprocmask(SIG_SETMASK, ~[HUP CHLD], NULL, 8) = 0", GUEST_rt_sigprocmask, 0, 2,
                P(&most), 0, 8);
    assert_line("connect(3, {sa_family=AF_UNIX, sun_path=\"/tmp/s\"}, 110) = 0", GUEST_connect, 0,
                3, P(&un), sizeof un);
    assert_line("ppoll([{fd=4, events=POLLIN, revents=POLLHUP}], 1, NULL, NULL, 0) = 1",
                GUEST_ppoll, 1, P(&pfd), 1);
    assert_line("fstat(1, {st_mode=S_IFREG|0644, st_size=12, ...}) = 0", GUEST_fstat, 0, 1, P(&s));
    assert_line("pipe2([5, 6], O_RDONLY) = 0", GUEST_pipe2, 0, P(fds));
}

/* What is not there is an address, whatever it should be. */
static void test_bad_addresses(void **state)
{
    (void)state;
    assert_line("write(1, 0x10, 6) = -1 EFAULT (Bad address)", GUEST_write, -EFAULT, 1, 16, 6);
    assert_line("chdir(0x10) = -1 EFAULT (Bad address)", GUEST_chdir, -EFAULT, 16);
    assert_line("chdir(NULL) = -1 EFAULT (Bad address)", GUEST_chdir, -EFAULT, 0);
    assert_line("nanosleep(0x10, NULL) = -1 EFAULT (Bad address)", GUEST_nanosleep, -EFAULT, 16);
    assert_line("fstat(1, 0x10) = -1 EBADF (Bad file descriptor)", GUEST_fstat, -EBADF, 1, 16);
}

/* Long lines are cut and still end. */
static void test_long(void **state)
{
    (void)state;
    static char word[5000];
    const uint64_t argv[17] = {P(word), P(word), P(word), P(word), P(word), P(word),
                               P(word), P(word), P(word), P(word), P(word), P(word)};
    memset(word, 1, sizeof word - 1000);
    const char *line = line_of(GUEST_execve, (const uint64_t[6]){P("/x"), P(argv)}, -ENOENT);
    assert_memory_equal(line, "execve(\"/x\", [\"\\1\\1", 18);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_flags),
        cmocka_unit_test(test_data),    cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
