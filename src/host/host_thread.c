#include "host/host_thread.h"

#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OWN_SIGNAL 33 /* by which all threads change their identity; sigaction refuses it */

/* As the kernel takes it. */
struct raw_action {
    uint64_t handler, flags, restorer, mask;
};

int host_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                      void *arg)
{
    struct raw_action before;
    long known = syscall(SYS_rt_sigaction, OWN_SIGNAL, NULL, &before, sizeof before.mask);
    int rc = pthread_create(thread, attr, fn, arg);
    if (known == 0 && before.handler != (uint64_t)(uintptr_t)SIG_DFL)
        syscall(SYS_rt_sigaction, OWN_SIGNAL, &before, NULL, sizeof before.mask);
    return rc;
}
