/* Bad pointers and numbers in calls: the kernel's errors, and no harm. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

static void bad_pointers(char *bad)
{
    int fds[2], zero = open("/dev/zero", O_RDONLY), pair[2];
    CHECK_IS(pipe(fds) | socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_ERROR(syscall(SYS_write, fds[1], bad, 10), EFAULT);
    CHECK_ERROR(syscall(SYS_read, zero, bad, 10), EFAULT);
    CHECK_ERROR(syscall(SYS_openat, AT_FDCWD, bad, O_RDONLY), EFAULT);
    CHECK_ERROR(syscall(SYS_getcwd, bad, 4096), EFAULT);
    CHECK_ERROR(syscall(SYS_pipe2, bad, 0), EFAULT);
    CHECK_ERROR(syscall(SYS_fstat, zero, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_newfstatat, AT_FDCWD, ".", bad, 0), EFAULT);
    CHECK_ERROR(syscall(SYS_statx, AT_FDCWD, ".", 0, STATX_SIZE, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_writev, fds[1], bad, 2), EFAULT);
    struct iovec part = {bad, 5};
    CHECK_ERROR(syscall(SYS_writev, fds[1], &part, 1), EFAULT);
    CHECK_ERROR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_nanosleep, bad, NULL), EFAULT);
    CHECK_ERROR(syscall(SYS_ppoll, bad, 1, NULL, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_uname, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_sysinfo, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_prlimit64, 0, 3, NULL, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_getrandom, bad, 10, 0), EFAULT);
    CHECK_ERROR(syscall(SYS_sendmsg, pair[0], bad, 0), EFAULT);
    CHECK_ERROR(syscall(SYS_recvmsg, pair[0], bad, MSG_DONTWAIT), EFAULT);
    CHECK_ERROR(syscall(SYS_sendto, pair[0], bad, 4, 0, NULL, 0), EFAULT);
    CHECK_ERROR(syscall(SYS_bind, pair[0], bad, 16), EFAULT);
    CHECK_ERROR(syscall(SYS_getsockname, pair[0], bad, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_epoll_ctl, epoll_create1(0), EPOLL_CTL_ADD, fds[0], bad), EFAULT);
    CHECK_ERROR(syscall(SYS_ioctl, fds[0], FIONREAD, bad), EFAULT);
    CHECK_ERROR(syscall(SYS_getdents64, open(".", O_RDONLY), bad, 4096), EFAULT);
    CHECK_ERROR(syscall(SYS_execve, bad, NULL, NULL), EFAULT);
    CHECK_ERROR(syscall(SYS_wait4, -1, bad, 0, NULL), ECHILD);
    CHECK_ERROR(syscall(SYS_futex, bad, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0), EFAULT);
    close(fds[0]);
    close(fds[1]);
    close(zero);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_IS(mprotect(page + 4096, 4096, PROT_NONE), 0);
    /* What is not mapped, what is beyond user space, and what must not be touched. */
    bad_pointers((char *)8);
    DONE("low");
    bad_pointers((char *)UINT64_C(0xfffffffffffff000));
    DONE("high");
    bad_pointers((char *)UINT64_C(0x4000000000));
    DONE("between");
    bad_pointers(page + 4096);
    DONE("protected");

    /* What is half there. */
    int fds[2];
    CHECK_IS(pipe(fds), 0);
    memset(page, 'y', 4096);
    CHECK_IS(write(fds[1], page + 4096 - 5, 5), 5);
    char byte[10];
    CHECK_IS(read(fds[0], byte, 10), 5);
    strcpy(page + 4096 - 4, "abc");
    CHECK_ERROR(open(page + 4096 - 4, O_RDONLY), ENOENT);
    page[4095] = 'd';
    CHECK_ERROR(open(page + 4096 - 4, O_RDONLY), EFAULT);
    struct iovec parts[2] = {{page, 5}, {page + 4096, 5}};
    CHECK_IS(write(fds[1], page, 5), 5);
    CHECK_IS(readv(fds[0], parts, 2), 5);
    struct timespec *crossing = (void *)(page + 4096 - 8);
    CHECK_ERROR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, crossing), EFAULT);
    int read_only = open("/dev/zero", O_RDONLY);
    CHECK_IS(mprotect(page, 4096, PROT_READ), 0);
    CHECK_ERROR(read(read_only, page, 10), EFAULT);
    DONE("half");

    CHECK_ERROR(syscall(9999), ENOSYS);
    CHECK_ERROR(syscall(-1), ENOSYS);
    CHECK_ERROR(syscall(1000000), ENOSYS);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGKILL, &(uint64_t[4]){0}, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4), EINVAL);
    CHECK_ERROR(kill(getpid(), 65), EINVAL);
    CHECK_ERROR(kill(0x7ffffff0, 0), ESRCH);
    CHECK_ERROR(syscall(SYS_write, 1000000, "x", 1), EBADF);
    DONE("numbers");
    return 0;
}
