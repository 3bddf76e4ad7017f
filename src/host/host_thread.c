#include "host/host_thread.h"

#include <signal.h>
#include <stdint.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OWN_SIGNAL 33 /* by which all threads change their identity; sigaction refuses it */
#define SET_SIZE 8u   /* bytes of the kernel's signal set */

/* As the kernel takes it. */
struct raw_action {
    uint64_t handler, flags, restorer, mask;
};

/* But SIGSEGV and SIGBUS. */
#define ALL (~(UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1)))

void host_thread_block_signals(void)
{
    const uint64_t all = ALL;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, SET_SIZE);
}

int host_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                      void *arg)
{
    uint64_t all = ALL, old;
    struct raw_action before;
    long known = syscall(SYS_rt_sigaction, OWN_SIGNAL, NULL, &before, SET_SIZE);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, SET_SIZE);
    /*
     * The C library believes that it has made a thread before. Else it would unblock its signals
     * here, and what waits for the guest, which has no handler of signal 32 but blocks it, would
     * end the process. Where it is a shared library it can keep a belief of its own.
     */
    __libc_single_threaded = 0;
    int rc = pthread_create(thread, attr, fn, arg);
    if (known == 0 && before.handler != (uint64_t)(uintptr_t)SIG_DFL)
        syscall(SYS_rt_sigaction, OWN_SIGNAL, &before, NULL, SET_SIZE);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, SET_SIZE);
    return rc;
}
