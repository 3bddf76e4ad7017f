/* The tracer waits for one thread alone, and leaves another one stopped as it makes threads. */
#include "trace.h"

#include <pthread.h>

#define THREADS 20

static void *nothing(void *arg)
{
    return arg;
}

static void *makes(void *arg)
{
    /* One begins with what a translator makes a thread of its own for. */
    for (volatile int i = 0; arg && i < 1000000; i++)
        ;
    for (int i = 0; i < THREADS; i++) {
        pthread_t t;
        CHECK_IS(pthread_create(&t, NULL, nothing, NULL), 0);
        CHECK_IS(pthread_join(t, NULL), 0);
    }
    return arg;
}

static void two(void)
{
    pthread_t a, b;
    CHECK_IS(pthread_create(&a, NULL, makes, "busy"), 0);
    CHECK_IS(pthread_create(&b, NULL, makes, NULL), 0);
    CHECK_IS(pthread_join(a, NULL), 0);
    CHECK_IS(pthread_join(b, NULL), 0);
    _exit(21);
}

/* The next stop is that of the clone. */
static pid_t made(pid_t maker)
{
    unsigned long child;
    wait_stop(maker, SIGTRAP, PTRACE_EVENT_CLONE);
    CHECK_IS(trace(PTRACE_GETEVENTMSG, maker, 0, (uintptr_t)&child), 0);
    wait_stop((pid_t)child, SIGSTOP, 0);
    return (pid_t)child;
}

static void follow(pid_t maker, int count)
{
    for (int i = 0; i < count; i++) {
        pid_t child = made(maker);
        go_on(PTRACE_CONT, child, 0);
        go_on(PTRACE_CONT, maker, 0);
        CHECK(WIFEXITED(wait_for(child))); /* the code may be the process's already */
    }
}

int main(void)
{
    pid_t pid = start_traced(two);
    go_on(PTRACE_SETOPTIONS, pid, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    go_on(PTRACE_CONT, pid, 0);
    pid_t a = made(pid);
    go_on(PTRACE_CONT, a, 0);
    /* From here on a makes a thread, and nobody waits for it. */
    go_on(PTRACE_CONT, pid, 0);
    pid_t b = made(pid);
    go_on(PTRACE_CONT, b, 0);
    go_on(PTRACE_CONT, pid, 0);
    follow(b, THREADS);
    CHECK(WIFEXITED(wait_for(b)));
    DONE("one");
    /* The stop is still there. */
    follow(a, THREADS);
    CHECK(WIFEXITED(wait_for(a)));
    DONE("the other");
    wait_exit(pid, 21);
    DONE("both");
    return 0;
}
