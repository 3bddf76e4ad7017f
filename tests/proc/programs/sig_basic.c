/* Handlers: order, nesting, masks, one-shot actions; signals that programs send. */
#include "sig.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

static volatile int depth, deepest, calls, last_value, order[32], count;
static volatile siginfo_t last;

static void nests(int sig, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    calls++;
    if (++depth > deepest)
        deepest = depth;
    CHECK(sig_blocked(sig));
    if (sig < SIGRTMIN + 8)
        raise(sig + 1);
    depth--;
}

static void nested(void)
{
    for (int sig = SIGRTMIN; sig <= SIGRTMIN + 8; sig++)
        sig_set(sig, nests, 0);
    raise(SIGRTMIN);
    CHECK_IS(calls, 9);
    CHECK_IS(deepest, 9);
    CHECK(!sig_blocked(SIGRTMIN));
    DONE("nested");
}

static void again(int sig, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    CHECK(!sig_blocked(sig));
    if (++depth < 5)
        raise(sig);
}

static void flags(void)
{
    struct sigaction now;
    depth = 0;
    sig_set(SIGUSR1, again, SA_NODEFER);
    raise(SIGUSR1);
    CHECK_IS(depth, 5);
    sig_set(SIGUSR1, again, SA_NODEFER | SA_RESETHAND);
    CHECK_IS(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK(now.sa_flags & SA_RESETHAND);
    raise(SIGUSR1);
    CHECK_IS(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_DFL);
    DONE("flags");
}

static void notes(int sig, siginfo_t *info, void *context)
{
    (void)context;
    order[count++ % 32] = sig;
    last = *info;
    last_value = info->si_value.sival_int;
}

static void masks(void)
{
    /* The action's mask holds while the handler runs; what came is delivered then. */
    sig_set(SIGUSR2, notes, 0);
    count = 0;
    sig_block(SIG_BLOCK, SIGUSR2, 0);
    raise(SIGUSR2);
    raise(SIGUSR2);
    sigset_t pending;
    CHECK_IS(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR2));
    CHECK_IS(count, 0);
    sig_block(SIG_UNBLOCK, SIGUSR2, 0);
    CHECK_IS(count, 1); /* standard signals do not queue */
    /* The lower number comes first. */
    sig_set(SIGUSR1, notes, 0);
    sig_block(SIG_BLOCK, SIGUSR2, SIGUSR1);
    raise(SIGUSR2);
    raise(SIGUSR1);
    count = 0;
    sig_block(SIG_UNBLOCK, SIGUSR2, SIGUSR1);
    CHECK_IS(count, 2);
    /* KILL and STOP stay out of masks. */
    sig_block(SIG_BLOCK, SIGKILL, SIGSTOP);
    CHECK(!sig_blocked(SIGKILL) && !sig_blocked(SIGSTOP));
    DONE("masks");
}

static void queued(void)
{
    int sig = SIGRTMIN + 2;
    sig_set(sig, notes, 0);
    sig_set(sig + 1, notes, 0);
    sig_block(SIG_BLOCK, sig, sig + 1);
    for (int i = 0; i < 5; i++) {
        CHECK_IS(sigqueue(getpid(), sig + 1, (union sigval){.sival_int = 100 + i}), 0);
        CHECK_IS(sigqueue(getpid(), sig, (union sigval){.sival_int = i}), 0);
    }
    siginfo_t info;
    sigset_t set = sig_of(sig, sig + 1);
    struct timespec none = {0};
    for (int i = 0; i < 5; i++) {
        CHECK_IS(sigtimedwait(&set, &info, &none), sig);
        CHECK_IS(info.si_value.sival_int, i);
        CHECK_IS(info.si_code, SI_QUEUE);
        CHECK_IS(info.si_pid, getpid());
    }
    for (int i = 0; i < 4; i++) {
        CHECK_IS(sigwaitinfo(&set, &info), sig + 1);
        CHECK_IS(info.si_value.sival_int, 100 + i);
    }
    count = 0;
    sig_block(SIG_UNBLOCK, sig, sig + 1);
    CHECK_IS(count, 1);
    CHECK_IS(last_value, 104);
    CHECK_ERROR(sigtimedwait(&set, &info, &none), EAGAIN);
    DONE("queued");
}

static void through_descriptors(void)
{
    struct signalfd_siginfo info;
    sigset_t set = sig_of(SIGUSR1, SIGRTMIN + 4);
    sig_block(SIG_BLOCK, SIGUSR1, SIGRTMIN + 4);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_ERROR(read(fd, &info, sizeof info), EAGAIN);
    CHECK_IS(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){.sival_int = 77}), 0);
    raise(SIGUSR1);
    CHECK_IS(read(fd, &info, sizeof info), sizeof info);
    CHECK_IS(info.ssi_signo, SIGUSR1);
    CHECK_IS(read(fd, &info, sizeof info), sizeof info);
    CHECK_IS(info.ssi_int, 77);
    CHECK_IS(info.ssi_pid, getpid());
    close(fd);
    sig_block(SIG_UNBLOCK, SIGUSR1, SIGRTMIN + 4);
    DONE("signalfd");
}

static void senders(void)
{
    sig_set(SIGUSR1, notes, 0);
    CHECK_IS(kill(getpid(), SIGUSR1), 0);
    CHECK_IS(last.si_code, SI_USER);
    CHECK_IS(last.si_pid, getpid());
    CHECK_IS(last.si_uid, getuid());
    CHECK_IS(raise(SIGUSR1), 0);
    CHECK_IS(last.si_code, SI_TKILL);
    union sigval value = {.sival_ptr = (void *)0x123456789abcdef0};
    CHECK_IS(sigqueue(getpid(), SIGUSR1, value), 0);
    CHECK(last.si_value.sival_ptr == value.sival_ptr);
    CHECK_IS(pthread_sigqueue(pthread_self(), SIGUSR1, value), 0);
    CHECK_IS(last.si_code, SI_QUEUE);
    /* Those that are exceptions as well, but were sent. */
    static const int sent[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    for (unsigned i = 0; i < sizeof sent / sizeof *sent; i++) {
        sig_set(sent[i], notes, 0);
        count = 0;
        CHECK_IS(kill(getpid(), sent[i]), 0);
        CHECK_IS(count, 1);
        CHECK_IS(last.si_signo, sent[i]);
        CHECK_IS(last.si_code, SI_USER);
        sig_block(SIG_BLOCK, sent[i], 0);
        CHECK_IS(sigqueue(getpid(), sent[i], (union sigval){.sival_int = sent[i]}), 0);
        sigset_t pending;
        CHECK_IS(sigpending(&pending), 0);
        CHECK(sigismember(&pending, sent[i]));
        CHECK_IS(count, 1);
        sig_block(SIG_UNBLOCK, sent[i], 0);
        CHECK_IS(count, 2);
        CHECK_IS(last_value, sent[i]);
        signal(sent[i], SIG_IGN);
        CHECK_IS(kill(getpid(), sent[i]), 0);
        signal(sent[i], SIG_DFL);
    }
    DONE("senders");
}

static void arguments(void)
{
    struct sigaction a = {.sa_handler = SIG_IGN};
    CHECK_ERROR(sigaction(SIGKILL, &a, NULL), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 16), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, (void *)8, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, 7, &a, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)8, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigsuspend, &a, 4), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigsuspend, (void *)8, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigpending, &a, 16), EINVAL);
    CHECK_ERROR(kill(getpid(), 65), EINVAL);
    CHECK_ERROR(kill(getpid(), -1), EINVAL);
    CHECK_IS(kill(getpid(), 0), 0);
    DONE("arguments");
}

int main(void)
{
    nested();
    flags();
    masks();
    queued();
    through_descriptors();
    senders();
    arguments();
    return 0;
}
