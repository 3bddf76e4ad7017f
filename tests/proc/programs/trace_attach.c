/* Tracing what runs already: SEIZE, INTERRUPT, LISTEN, ATTACH, DETACH, and the tracer's death. */
#include "trace.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define STOPPED(event, sig) ((event) << 16 | (sig) << 8 | 0x7f)

/* Shared with the tracees. */
static struct shared {
    volatile long count[4];
    volatile pid_t tid[4];
    volatile int done, ready;
} * shared;

static void *counts(void *arg)
{
    long n = (long)arg;
    shared->tid[n] = (pid_t)syscall(SYS_gettid);
    while (!shared->done)
        shared->count[n]++;
    return NULL;
}

static pid_t start(void (*work)(void))
{
    memset(shared, 0, sizeof *shared);
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work();
        _exit(0);
    }
    return pid;
}

static bool moves(long n)
{
    long before = shared->count[n];
    for (int i = 0; i < 200 && shared->count[n] == before; i++)
        usleep(1000);
    return shared->count[n] != before;
}

static void wait_moving(long n)
{
    while (!moves(n))
        ;
}

static void one_counts(void)
{
    counts(NULL);
    _exit(21);
}

/* ---- SEIZE ---- */

static void seized(void)
{
    siginfo_t info;
    struct registers r;
    pid_t pid = start(one_counts);
    wait_moving(0);
    CHECK_ERROR(trace(PTRACE_INTERRUPT, pid, 0, 0), ESRCH);
    CHECK_ERROR(trace(PTRACE_SEIZE, pid, 1, 0), EIO);
    CHECK_IS(trace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD), 0);
    CHECK_ERROR(trace(PTRACE_SEIZE, pid, 0, 0), EPERM);
    CHECK(moves(0)); /* it has not stopped */
    CHECK_ERROR(trace(PTRACE_CONT, pid, 0, 0), ESRCH);
    CHECK_IS(trace(PTRACE_INTERRUPT, pid, 0, 0), 0);
    CHECK_IS(wait_for(pid), STOPPED(PTRACE_EVENT_STOP, SIGTRAP));
    CHECK(!moves(0));
    get_registers(pid, &r);
    CHECK(PC(&r));
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    CHECK_IS(info.si_code, PTRACE_EVENT_STOP << 8 | SIGTRAP);
    go_on(PTRACE_CONT, pid, 0);
    CHECK(moves(0));
    CHECK_IS(trace(PTRACE_INTERRUPT, pid, 0, 0), 0);
    CHECK_IS(wait_for(pid), STOPPED(PTRACE_EVENT_STOP, SIGTRAP));
    CHECK_IS(trace(PTRACE_DETACH, pid, 0, 0), 0);
    CHECK(moves(0));
    shared->done = 1;
    wait_exit(pid, 21);
    DONE("seize");
}

/* The process is stopped by a signal while it is traced; LISTEN leaves it so. */
static void listened(void)
{
    pid_t pid = start(one_counts);
    wait_moving(0);
    CHECK_IS(trace(PTRACE_SEIZE, pid, 0, 0), 0);
    CHECK_IS(kill(pid, SIGSTOP), 0);
    CHECK_IS(wait_for(pid), STOPPED(0, SIGSTOP));
    go_on(PTRACE_CONT, pid, SIGSTOP);
    CHECK_IS(wait_for(pid), STOPPED(PTRACE_EVENT_STOP, SIGSTOP));
    CHECK_IS(trace(PTRACE_LISTEN, pid, 0, 0), 0);
    CHECK(!moves(0));
    CHECK_IS(kill(pid, SIGCONT), 0);
    CHECK_IS(wait_for(pid), STOPPED(PTRACE_EVENT_STOP, SIGTRAP));
    go_on(PTRACE_CONT, pid, 0);
    CHECK_IS(wait_for(pid), STOPPED(0, SIGCONT));
    go_on(PTRACE_CONT, pid, SIGCONT);
    CHECK(moves(0));
    shared->done = 1;
    wait_exit(pid, 21);
    DONE("listen");
}

/* As strace starts a program: it stops itself, is seized, and goes on. */
static void stops_itself(void)
{
    raise(SIGSTOP);
    one_counts();
}

static void seized_stopped(void)
{
    int status;
    pid_t pid = start(stops_itself);
    CHECK_IS(waitpid(pid, &status, WUNTRACED), pid);
    CHECK_IS(status, STOPPED(0, SIGSTOP));
    CHECK_IS(trace(PTRACE_SEIZE, pid, 0, 0), 0);
    CHECK_IS(wait_for(pid), STOPPED(PTRACE_EVENT_STOP, SIGSTOP));
    CHECK_IS(kill(pid, SIGCONT), 0);
    go_on(PTRACE_CONT, pid, 0);
    status = wait_for(pid);
    if (status == STOPPED(PTRACE_EVENT_STOP, SIGTRAP)) {
        go_on(PTRACE_CONT, pid, 0);
        status = wait_for(pid);
    }
    CHECK_IS(status, STOPPED(0, SIGCONT));
    go_on(PTRACE_CONT, pid, 0);
    wait_moving(0);
    shared->done = 1;
    wait_exit(pid, 21);
    DONE("seize of a stopped one");
}

/* ---- calls that wait ---- */

static int pipes[2];

static void waits(void)
{
    char byte = 0;
    struct timespec ts = {0, 300000000}, start, end;
    shared->ready = 1;
    CHECK_IS(read(pipes[0], &byte, 1), 1);
    shared->ready = 2;
    CHECK_IS(clock_gettime(CLOCK_MONOTONIC, &start), 0);
    CHECK_IS(nanosleep(&ts, NULL), 0);
    CHECK_IS(clock_gettime(CLOCK_MONOTONIC, &end), 0);
    CHECK(end.tv_sec + end.tv_nsec * 1e-9 - start.tv_sec - start.tv_nsec * 1e-9 >= 0.3);
    shared->ready = 3;
    CHECK_ERROR(pause(), EINTR);
    _exit(22);
}

static void nothing(int sig)
{
    (void)sig;
}

static void stop_and_go(pid_t pid)
{
    struct registers r;
    for (int i = 0; i < 5; i++) {
        usleep(10000);
        CHECK_IS(trace(PTRACE_INTERRUPT, pid, 0, 0), 0);
        CHECK_IS(wait_for(pid), STOPPED(PTRACE_EVENT_STOP, SIGTRAP));
        get_registers(pid, &r);
        go_on(PTRACE_CONT, pid, 0);
    }
}

static void await(int ready)
{
    while (shared->ready < ready)
        usleep(1000);
}

/* A call that waits goes on waiting, however often it is interrupted. */
static void waiting(void)
{
    signal(SIGUSR1, nothing);
    CHECK_IS(pipe(pipes), 0);
    pid_t pid = start(waits);
    await(1);
    usleep(10000);
    CHECK_IS(trace(PTRACE_SEIZE, pid, 0, 0), 0);
    stop_and_go(pid);
    CHECK_IS(shared->ready, 1);
    CHECK_IS(write(pipes[1], "x", 1), 1);
    await(2);
    stop_and_go(pid);
    await(3);
    stop_and_go(pid);
    CHECK_IS(kill(pid, SIGUSR1), 0);
    CHECK_IS(wait_for(pid), STOPPED(0, SIGUSR1));
    go_on(PTRACE_CONT, pid, SIGUSR1);
    wait_exit(pid, 22);
    DONE("waiting");
}

/* ---- threads ---- */

static void three_count(void)
{
    pthread_t t[2];
    for (long i = 0; i < 2; i++)
        CHECK_IS(pthread_create(&t[i], NULL, counts, (void *)(i + 1)), 0);
    counts(NULL);
    for (int i = 0; i < 2; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    _exit(23);
}

static void attached(void)
{
    struct registers r;
    pid_t pid = start(three_count);
    for (long i = 0; i < 3; i++)
        wait_moving(i);
    for (int i = 0; i < 3; i++)
        CHECK_IS(trace(PTRACE_ATTACH, shared->tid[i], 0, 0), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_IS(wait_for(shared->tid[i]), STOPPED(0, SIGSTOP));
        get_registers(shared->tid[i], &r);
        CHECK_ERROR(trace(PTRACE_INTERRUPT, shared->tid[i], 0, 0), EIO);
    }
    for (int i = 0; i < 3; i++)
        CHECK(!moves(i));
    go_on(PTRACE_CONT, shared->tid[1], 0);
    CHECK(moves(1));
    CHECK(!moves(2));
    CHECK_IS(syscall(SYS_tgkill, pid, shared->tid[1], SIGSTOP), 0);
    CHECK_IS(wait_for(shared->tid[1]), STOPPED(0, SIGSTOP));
    poke(shared->tid[2], &shared->count[3], 5);
    CHECK_IS(shared->count[3], 5);
    for (int i = 0; i < 3; i++)
        CHECK_IS(trace(PTRACE_DETACH, shared->tid[i], 0, 0), 0);
    for (long i = 0; i < 3; i++)
        CHECK(moves(i));
    shared->done = 1;
    wait_exit(pid, 23);
    DONE("attach");
}

/* ---- breakpoints in what others run ---- */

__attribute__((noinline)) static void step(long n)
{
    shared->count[n]++;
}

static void *steps(void *arg)
{
    shared->tid[(long)arg] = (pid_t)syscall(SYS_gettid);
    while (!shared->done)
        step((long)arg);
    return NULL;
}

static void two_step(void)
{
    pthread_t t;
    CHECK_IS(pthread_create(&t, NULL, steps, (void *)1), 0);
    steps(NULL);
    CHECK_IS(pthread_join(t, NULL), 0);
    _exit(24);
}

/* All threads are stopped, one of them is used to write, another goes on first. */
static void breakpoints(void)
{
    const void *at = (const void *)step;
    struct registers r;
    pid_t pid = start(two_step);
    wait_moving(0);
    wait_moving(1);
    for (int i = 0; i < 2; i++) {
        CHECK_IS(trace(PTRACE_SEIZE, shared->tid[i], 0, 0), 0);
        CHECK_IS(trace(PTRACE_INTERRUPT, shared->tid[i], 0, 0), 0);
        CHECK_IS(wait_for(shared->tid[i]), STOPPED(PTRACE_EVENT_STOP, SIGTRAP));
    }
    uint64_t word = peek(pid, at);
    poke(shared->tid[0], at, (word & ~(uint64_t)BREAK_MASK) | BREAK);
    for (int i = 1; i >= 0; i--) {
        go_on(PTRACE_CONT, shared->tid[i], 0);
        CHECK_IS(wait_for(shared->tid[i]), STOPPED(0, SIGTRAP));
        get_registers(shared->tid[i], &r);
        CHECK_IS(PC(&r), (uintptr_t)at + BREAK_PASSED);
        PC(&r) = (uintptr_t)at;
        set_registers(shared->tid[i], &r);
    }
    poke(shared->tid[0], at, word);
    for (int i = 0; i < 2; i++)
        CHECK_IS(trace(PTRACE_DETACH, shared->tid[i], 0, 0), 0);
    CHECK(moves(0));
    CHECK(moves(1));
    shared->done = 1;
    wait_exit(pid, 24);
    DONE("breakpoints");
}

/* ---- the tracer's death ---- */

static pid_t victim;

static void traces(uint64_t options)
{
    CHECK_IS(trace(PTRACE_SEIZE, victim, 0, options), 0);
    CHECK_IS(trace(PTRACE_INTERRUPT, victim, 0, 0), 0);
    CHECK_IS(wait_for(victim), STOPPED(PTRACE_EVENT_STOP, SIGTRAP));
    go_on(PTRACE_SYSCALL, victim, 0);
    if (options)
        _exit(0);
    CHECK_IS(kill(victim, SIGUSR1), 0);
    CHECK_IS(wait_for(victim), STOPPED(0, SIGUSR1));
    _exit(0); /* the signal is lost then */
}

static void notes(int sig)
{
    shared->ready = sig;
}

static void counts_and_notes(void)
{
    signal(SIGUSR1, notes);
    one_counts();
}

static void died(void)
{
    victim = start(counts_and_notes);
    wait_moving(0);
    pid_t tracer = fork();
    if (!tracer)
        traces(0);
    wait_exit(tracer, 0);
    CHECK(moves(0));
    CHECK_IS(kill(victim, SIGUSR1), 0);
    await(SIGUSR1);
    shared->done = 1;
    wait_exit(victim, 21);
    victim = start(counts_and_notes);
    wait_moving(0);
    tracer = fork();
    if (!tracer)
        traces(PTRACE_O_EXITKILL);
    wait_exit(tracer, 0);
    CHECK_IS(wait_for(victim), SIGKILL);
    DONE("death of the tracer");
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    seized();
    listened();
    seized_stopped();
    waiting();
    attached();
    breakpoints();
    died();
    return 0;
}
