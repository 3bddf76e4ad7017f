/* System V semaphores and shared memory. Messages have one layout on both. */
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/sem.h>
#include <string.h>
#include <sys/syscall.h>

_Static_assert(sizeof(((struct semid64_ds *)NULL)->sem_perm) == sizeof(struct guest_ipc_perm),
               "struct ipc64_perm of the host");

static int64_t semctl_get(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct semid64_ds h;
    struct guest_semid_ds g = {0};
    int64_t rc = thread_host_call(t, SYS_semctl, a[0], a[1], a[2], guest_address(&h), 0, 0);
    if (rc < 0)
        return rc;
    memcpy(&g.perm, &h.sem_perm, sizeof g.perm);
    g.otime = h.sem_otime;
    g.ctime = h.sem_ctime;
    g.nsems = h.sem_nsems;
    return guest_write(a[3], &g, sizeof g) ? rc : -EFAULT;
}

static int64_t semctl_set(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct semid64_ds h = {0};
    struct guest_semid_ds g;
    if (!guest_read(&g, a[3], sizeof g))
        return -EFAULT;
    memcpy(&h.sem_perm, &g.perm, sizeof g.perm);
    return thread_host_call(t, SYS_semctl, a[0], a[1], a[2], guest_address(&h), 0, 0);
}

int64_t sys_semctl(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    switch ((int)a[2]) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
        return semctl_get(t, a);
    case IPC_SET:
        return semctl_set(t, a);
    default:
        return syscall_host(t, SYS_semctl, a);
    }
}

int64_t sys_shmat(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_shmat(&t->process->mm, (int)a[0], a[1], (int)a[2]);
}

int64_t sys_shmdt(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_shmdt(&t->process->mm, a[0]);
}
