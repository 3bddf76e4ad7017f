/*
 * wait4 and waitid, whose host's calls also tell of stops that are guise's own business (tracer.h).
 *
 * A thread that is stopped for guise alone may hold what another thread of its process needs, one
 * in the middle of pthread_create for example. So a program that traces several threads and waits
 * for a certain one must not wait in the host's call: it looks after the others as well, by turns.
 */
#include "proc/syscall.h"
#include "proc/tracer.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Between two looks, nanoseconds: twice as long each time. */
#define SHORTEST 50000
#define LONGEST 5000000

/* What waitid waits for, wait4's put like that, and what there was. */
struct wait {
    idtype_t type;
    pid_t id;
    uint64_t options;
    int status;     /* as wait4's; of ends all that counts is that they are none of a stop */
    siginfo_t info; /* of waitid */
};

/* One call of the host with these options. > 0: whose w->status there is now. */
typedef int64_t wait_fn(struct thread *t, const uint64_t a[SYSCALL_ARGS], uint64_t options,
                        struct wait *w);

static bool wait_matches(const struct wait *w, pid_t tid)
{
    switch (w->type) {
    case P_ALL:
        return true;
    case P_PID:
        return tid == w->id;
    case P_PGID:
        return getpgid(tid) == (w->id ? w->id : getpgrp());
    default:
        return false;
    }
}

/* The stop of a tracee that has been served already; 0: there is none. */
static pid_t wait_kept(struct tracer *r, struct wait *w)
{
    for (struct tracee *e = r->first; e; e = e->next) {
        if (!e->kept || !wait_matches(w, e->tid))
            continue;
        w->status = e->kept;
        if (!(w->options & WNOWAIT))
            e->kept = 0;
        return e->tid;
    }
    return 0;
}

/* Is it for the program to know? */
static bool wait_tells(struct tracer *r, pid_t pid, struct wait *w)
{
    bool tells = true;
    pthread_mutex_lock(&r->lock);
    /* What is not for it is taken even if it only wants to look. */
    if (WIFSTOPPED(w->status))
        tells = tracer_stopped(r, pid, &w->status);
    else if (!WIFCONTINUED(w->status) && !(w->options & WNOWAIT))
        tracer_ended(r, pid);
    pthread_mutex_unlock(&r->lock);
    return tells;
}

/* As the host's waits end when a signal comes, or after the time. */
static int64_t wait_pause(struct thread *t, long nanoseconds)
{
    uint32_t word = 0;
    struct futex_waitv never = {.uaddr = (uint64_t)(uintptr_t)&word,
                                .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += nanoseconds;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int64_t rc = thread_host_call(t, SYS_futex_waitv, guest_address(&never), 1, 0,
                                  guest_address(&until), CLOCK_MONOTONIC, 0);
    return rc == -EINTR || rc == -THREAD_RESTART ? rc : 0;
}

/* Looks after all tracees if need be; true: it is not, and the host's call may wait. */
static bool wait_serve(struct tracer *r, struct wait *w, pid_t *kept)
{
    pthread_mutex_lock(&r->lock);
    const struct tracee *e = r->first;
    bool only = e && !e->next && w->type == P_PID && e->tid == w->id;
    bool waits = !e || only || w->type == P_ALL || w->type == P_PIDFD;
    if (!waits)
        tracer_serve(r, NULL);
    *kept = wait_kept(r, w);
    pthread_mutex_unlock(&r->lock);
    return waits;
}

/* Whose w->status there is; 0: nobody's, or -errno. */
static int64_t wait_do(struct thread *t, const uint64_t a[SYSCALL_ARGS], struct wait *w,
                       wait_fn *host)
{
    struct tracer *r = &t->process->tracer;
    long pause = SHORTEST;
    for (;;) {
        pid_t kept;
        bool waits = wait_serve(r, w, &kept);
        if (kept)
            return kept;
        int64_t rc = host(t, a, w->options | (waits ? 0 : WNOHANG), w);
        if (rc > 0 && !wait_tells(r, (pid_t)rc, w))
            continue;
        if (rc || (w->options & WNOHANG))
            return rc;
        rc = wait_pause(t, pause);
        if (rc)
            return rc;
        pause = pause * 2 < LONGEST ? pause * 2 : LONGEST;
    }
}

/* ---- wait4 ---- */

static int64_t wait4_host(struct thread *t, const uint64_t a[SYSCALL_ARGS], uint64_t options,
                          struct wait *w)
{
    return thread_host_call(t, SYS_wait4, a[0], guest_address(&w->status), options, a[3], 0, 0);
}

int64_t sys_wait4(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    pid_t pid = (pid_t)a[0];
    struct wait w = {
        .type = pid == -1 ? P_ALL
                : pid > 0 ? P_PID
                          : P_PGID,
        .id = pid > 0 ? pid : -pid,
        .options = (uint32_t)a[2],
    };
    int64_t rc = wait_do(t, a, &w, wait4_host);
    return rc > 0 && a[1] && !guest_write(a[1], &w.status, sizeof w.status) ? -EFAULT : rc;
}

/* ---- waitid ---- */

/* si_code and si_status as wait4's status. */
static int wait_status(const siginfo_t *info)
{
    bool stopped = info->si_code == CLD_TRAPPED || info->si_code == CLD_STOPPED;
    return stopped                          ? (int)((unsigned)info->si_status << 8 | 0x7f)
           : info->si_code == CLD_CONTINUED ? 0xffff
                                            : 0;
}

static int64_t waitid_host(struct thread *t, const uint64_t a[SYSCALL_ARGS], uint64_t options,
                           struct wait *w)
{
    memset(&w->info, 0, sizeof w->info);
    int64_t rc =
        thread_host_call(t, SYS_waitid, a[0], a[1], guest_address(&w->info), options, a[4], 0);
    w->status = wait_status(&w->info);
    return rc ? rc : w->info.si_pid;
}

static void waitid_stopped(struct wait *w, pid_t pid)
{
    if (w->info.si_pid != pid) /* it was kept */
        w->info = (siginfo_t){.si_signo = SIGCHLD, .si_code = CLD_TRAPPED};
    w->info.si_pid = pid;
    w->info.si_status = (int)((unsigned)w->status >> 8);
}

int64_t sys_waitid(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct wait w = {.type = (idtype_t)a[0], .id = (pid_t)a[1], .options = (uint32_t)a[3]};
    int64_t rc = wait_do(t, a, &w, waitid_host);
    if (rc < 0)
        return rc;
    if (rc > 0 && WIFSTOPPED(w.status) && w.info.si_code != CLD_STOPPED)
        waitid_stopped(&w, (pid_t)rc);
    return a[2] && !guest_write(a[2], &w.info, sizeof w.info) ? -EFAULT : 0;
}
