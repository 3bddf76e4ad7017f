/* fork: from threads, often, and what children have of their own. */
#include "sig.h"

#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

static int stop;
static __thread int variable;

static void *works(void *arg)
{
    unsigned long n = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *p = malloc(n++ % 5000 + 1);
        memset(p, 1, 1);
        free(p);
    }
    return arg;
}

static void *forks(void *arg)
{
    for (int i = 0; i < 60; i++) {
        variable = i;
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            CHECK_IS(variable, i);
            CHECK_IS(getpid(), syscall(SYS_gettid));
            void *p = malloc(100000);
            memset(p, 1, 100000);
            free(p);
            _exit(i);
        }
        CHECK_IS(sig_wait(child), i);
    }
    return arg;
}

static void from_threads(void)
{
    pthread_t w[2], f[3];
    for (int i = 0; i < 2; i++)
        CHECK_IS(pthread_create(&w[i], NULL, works, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_IS(pthread_create(&f[i], NULL, forks, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_IS(pthread_join(f[i], NULL), 0);
    stop = 1;
    for (int i = 0; i < 2; i++)
        CHECK_IS(pthread_join(w[i], NULL), 0);
    DONE("from threads");
}

static void *ends(void *arg)
{
    return arg;
}

/* Children that make threads and children in turn. */
static void generations(int n)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        pthread_t t;
        CHECK_IS(pthread_create(&t, NULL, ends, NULL), 0);
        CHECK_IS(pthread_join(t, NULL), 0);
        if (n)
            generations(n - 1);
        _exit(n);
    }
    CHECK_IS(sig_wait(child), n);
}

static volatile int calls;

static void counts(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    calls++;
}

static int interrupts = 1;

static void *storms(void *to)
{
    while (__atomic_load_n(&interrupts, __ATOMIC_RELAXED)) {
        pthread_kill(*(pthread_t *)to, SIGUSR1);
        usleep(50);
    }
    return NULL;
}

/* A signal is the parent's or the child's, never both's. */
static void with_signals(void)
{
    pthread_t self = pthread_self(), t;
    sig_set(SIGUSR1, counts, SA_RESTART);
    CHECK_IS(pthread_create(&t, NULL, storms, &self), 0);
    for (int i = 0; i < 200; i++) {
        int before = calls;
        pid_t child = fork();
        if (!child)
            /* At most what came before the child was there. */
            _exit(calls - before > 50);
        CHECK_IS(sig_wait(child), 0);
    }
    interrupts = 0;
    CHECK_IS(pthread_join(t, NULL), 0);
    DONE("with signals");
}

static long clone3(struct clone_args *a)
{
    return syscall(SYS_clone3, a, sizeof *a);
}

static void flags(void)
{
    int pidfd = -1;
    pid_t parent_tid = 0;
    struct clone_args a = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID,
                           .pidfd = (uintptr_t)&pidfd,
                           .parent_tid = (uintptr_t)&parent_tid,
                           .exit_signal = SIGCHLD};
    sig_set(SIGUSR1, counts, 0);
    pid_t child = (pid_t)clone3(&a);
    if (!child) {
        struct sigaction now;
        sigaction(SIGUSR1, NULL, &now);
        _exit(now.sa_handler == SIG_DFL ? 1 : 2);
    }
    CHECK(child > 0 && pidfd >= 0);
    CHECK_IS(parent_tid, child);
    siginfo_t info;
    CHECK_IS(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED), 0);
    CHECK_IS(info.si_status, 2);
    close(pidfd);
    a = (struct clone_args){.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
    child = (pid_t)clone3(&a);
    if (!child) {
        struct sigaction now;
        sigaction(SIGUSR1, NULL, &now);
        _exit(now.sa_handler == SIG_DFL ? 1 : 2);
    }
    CHECK_IS(sig_wait(child), 1);
    /* No signal at the end, or another one. */
    a = (struct clone_args){.exit_signal = 0};
    child = (pid_t)clone3(&a);
    if (!child)
        _exit(3);
    int status;
    CHECK_ERROR(waitpid(child, &status, WNOHANG), ECHILD);
    CHECK_IS(waitpid(child, &status, __WCLONE), child);
    CHECK_IS(WEXITSTATUS(status), 3);
    calls = 0;
    a = (struct clone_args){.exit_signal = SIGUSR1};
    child = (pid_t)clone3(&a);
    if (!child)
        _exit(4);
    CHECK_IS(waitpid(child, &status, __WALL), child);
    CHECK_IS(WEXITSTATUS(status), 4);
    CHECK_IS(calls, 1);
    CHECK_IS(syscall(SYS_clone3, &a, 8) == -1 && errno == EINVAL, 1);
    CHECK_IS(syscall(SYS_clone3, (void *)8, sizeof a) == -1 && errno == EFAULT, 1);
    a = (struct clone_args){.flags = CLONE_THREAD, .exit_signal = 0};
    CHECK_ERROR(clone3(&a), EINVAL);
    DONE("flags");
}

static void namespaces(void)
{
    struct clone_args a = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
    pid_t child = (pid_t)clone3(&a);
    if (child < 0) {
        CHECK_IS(errno, EPERM);
    } else if (!child) {
        _exit(getpid() == 1 && syscall(SYS_gettid) == 1 && getppid() == 0 ? 0 : 1);
    } else {
        CHECK_IS(sig_wait(child), 0);
    }
    DONE("namespaces");
}

static void waits(void)
{
    siginfo_t info;
    pid_t one = fork();
    if (!one)
        _exit(11);
    memset(&info, 0, sizeof info);
    CHECK_IS(waitid(P_PID, (id_t)one, &info, WEXITED | WNOWAIT), 0);
    CHECK_IS(info.si_code, CLD_EXITED);
    CHECK_IS(info.si_status, 11);
    CHECK_IS(info.si_pid, one);
    CHECK_IS(sig_wait(one), 11);
    CHECK_ERROR(waitpid(-1, NULL, 0), ECHILD);
    CHECK_ERROR(waitpid(getpid(), NULL, WNOHANG), ECHILD);
    CHECK_ERROR(waitid(P_ALL, 0, &info, 0), EINVAL);
    CHECK_ERROR(waitpid(-1, NULL, 0x1234), EINVAL);
    DONE("waits");
}

int main(void)
{
    from_threads();
    generations(12);
    DONE("generations");
    with_signals();
    flags();
    namespaces();
    waits();
    return 0;
}
