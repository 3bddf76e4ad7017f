/* Events: new processes and threads, which are traced as well, exec, ends. */
#include "trace.h"

#include <pthread.h>

#define FOLLOW                                                                                \
    (PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE | \
     PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT)

static unsigned long message(pid_t pid)
{
    unsigned long m;
    CHECK_IS(trace(PTRACE_GETEVENTMSG, pid, 0, (uintptr_t)&m), 0);
    return m;
}

static pid_t traced(void (*work)(void))
{
    pid_t pid = start_traced(work);
    go_on(PTRACE_SETOPTIONS, pid, FOLLOW);
    go_on(PTRACE_CONT, pid, 0);
    return pid;
}

/* The child's first stop may be told before or after what its maker tells. */
static pid_t made(pid_t maker, int event)
{
    wait_stop(maker, SIGTRAP, event);
    pid_t child = (pid_t)message(maker);
    siginfo_t info;
    CHECK_IS(trace(PTRACE_GETSIGINFO, maker, 0, (uintptr_t)&info), 0);
    CHECK_IS(info.si_code, SIGTRAP | event << 8);
    wait_stop(child, SIGSTOP, 0);
    struct registers r;
    get_registers(child, &r);
    CHECK_IS(RESULT(&r), 0);
    return child;
}

static void finish(pid_t pid, int code)
{
    wait_stop(pid, SIGTRAP, PTRACE_EVENT_EXIT);
    CHECK_IS(message(pid), code << 8);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, code);
}

/* ---- fork and vfork ---- */

static void forks(void)
{
    int status;
    pid_t child = fork();
    if (!child)
        _exit(11);
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 11 << 8);
    _exit(12);
}

static void forked(void)
{
    pid_t pid = traced(forks), child = made(pid, PTRACE_EVENT_FORK);
    go_on(PTRACE_CONT, pid, 0);
    go_on(PTRACE_CONT, child, 0);
    finish(child, 11);
    wait_stop(pid, SIGCHLD, 0);
    go_on(PTRACE_CONT, pid, 0);
    finish(pid, 12);
    DONE("fork");
}

static void vforks(void)
{
    int status;
    pid_t child = vfork();
    if (!child)
        _exit(13);
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 13 << 8);
    _exit(14);
}

static void vforked(void)
{
    pid_t pid = traced(vforks), child = made(pid, PTRACE_EVENT_VFORK);
    go_on(PTRACE_CONT, pid, 0);
    go_on(PTRACE_CONT, child, 0);
    finish(child, 13);
    wait_stop(pid, SIGTRAP, PTRACE_EVENT_VFORK_DONE);
    CHECK_IS(message(pid), child);
    go_on(PTRACE_CONT, pid, 0);
    int status = wait_for(pid);
    if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCHLD) {
        go_on(PTRACE_CONT, pid, 0);
        finish(pid, 14);
    }
    DONE("vfork");
}

/* Not followed: the child is on its own. */
static void unfollowed(void)
{
    pid_t pid = start_traced(forks);
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGCHLD, 0);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, 12);
    DONE("not followed");
}

/* ---- threads ---- */

static void *thread(void *arg)
{
    return arg;
}

static void threads(void)
{
    for (int i = 0; i < 3; i++) {
        pthread_t t;
        CHECK_IS(pthread_create(&t, NULL, thread, NULL), 0);
        CHECK_IS(pthread_join(t, NULL), 0);
    }
    _exit(15);
}

static void threaded(void)
{
    pid_t pid = traced(threads);
    for (int i = 0; i < 3; i++) {
        pid_t child = made(pid, PTRACE_EVENT_CLONE);
        go_on(PTRACE_CONT, pid, 0);
        go_on(PTRACE_CONT, child, 0);
        wait_stop(child, SIGTRAP, PTRACE_EVENT_EXIT);
        CHECK_IS(message(child), 0);
        go_on(PTRACE_CONT, child, 0);
        CHECK(WIFEXITED(wait_for(child))); /* the code may be that of the process already */
    }
    finish(pid, 15);
    DONE("threads");
}

/* ---- exec ---- */

static void execs(void)
{
    execl("/proc/self/exe", "program", "again", NULL);
    CHECK(0);
}

static void executed(void)
{
    struct registers r;
    siginfo_t info;
    pid_t pid = traced(execs);
    wait_stop(pid, SIGTRAP, PTRACE_EVENT_EXEC);
    CHECK_IS(message(pid), pid);
    get_registers(pid, &r);
    uint64_t argc;
    CHECK_IS(trace(PTRACE_PEEKDATA, pid, SP(&r), (uintptr_t)&argc), 0);
    CHECK_IS(argc, 2);
    go_on(PTRACE_CONT, pid, 0);
    finish(pid, 16);
    /* Without the option it is a signal. */
    pid = start_traced(execs);
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGTRAP, 0);
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    CHECK_IS(info.si_code, SI_USER);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, 16);
    DONE("exec");
}

/* The child begins with exec: what debuggers do, and it stops for the first time then. */
static void started(void)
{
    pid_t pid = fork();
    if (!pid) {
        CHECK_IS(trace(PTRACE_TRACEME, 0, 0, 0), 0);
        execs();
    }
    wait_stop(pid, SIGTRAP, 0);
    go_on(PTRACE_SETOPTIONS, pid, PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD);
    go_on(PTRACE_SYSCALL, pid, 0);
    wait_stop(pid, SIGTRAP | 0x80, 0);
    go_on(PTRACE_CONT, pid, 0);
    finish(pid, 16);
    DONE("start");
}

static void exec_thread(void)
{
    pthread_t t;
    CHECK_IS(pthread_create(&t, NULL, (void *(*)(void *))execs, NULL), 0);
    pthread_join(t, NULL);
}

/* Another thread than the first: it gets the first one's number, which has ended. */
static void executed_by_thread(void)
{
    pid_t pid = traced(exec_thread), child = made(pid, PTRACE_EVENT_CLONE);
    go_on(PTRACE_CONT, pid, 0);
    go_on(PTRACE_CONT, child, 0);
    int status = wait_for(pid);
    if (status >> 16 == PTRACE_EVENT_EXIT) {
        go_on(PTRACE_CONT, pid, 0);
        status = wait_for(pid);
    }
    CHECK_IS(status, PTRACE_EVENT_EXEC << 16 | SIGTRAP << 8 | 0x7f);
    CHECK_IS(message(pid), child);
    go_on(PTRACE_CONT, pid, 0);
    finish(pid, 16);
    CHECK_ERROR(waitpid(child, &status, __WALL), ECHILD);
    DONE("exec of a thread");
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return 16;
    forked();
    vforked();
    unfollowed();
    threaded();
    executed();
    started();
    executed_by_thread();
    return 0;
}
