/* Limits, priorities, scheduling, prctl, and what happens at a limit. */
#include "check.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void limits(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit;
        CHECK_IS(getrlimit((__rlimit_resource_t)i, &limit), 0);
        /* Those that are the same for all programs that a shell starts. */
        if (i == RLIMIT_CORE || i == RLIMIT_STACK || i == RLIMIT_AS || i == RLIMIT_DATA ||
            i == RLIMIT_CPU)
            printf("limit %d: %ld %ld\n", i, (long)limit.rlim_cur, (long)limit.rlim_max);
    }
    struct rlimit limit, old;
    CHECK_ERROR(getrlimit((__rlimit_resource_t)99, &limit), EINVAL);
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = (struct rlimit){20, old.rlim_max};
    CHECK_IS(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_IS(sysconf(_SC_OPEN_MAX), 20);
    int opened = 0, fds[30];
    while (opened < 30 && (fds[opened] = open("/dev/null", O_RDONLY)) >= 0)
        opened++;
    CHECK_IS(errno, EMFILE);
    printf("opened %d\n", opened);
    while (opened)
        close(fds[--opened]);
    CHECK_ERROR(fcntl(1, F_DUPFD, 20), EINVAL);
    CHECK_IS(prlimit(0, RLIMIT_NOFILE, &old, &limit), 0);
    CHECK_IS(limit.rlim_cur, 20);
    limit = (struct rlimit){10, 5};
    CHECK_ERROR(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    DONE("limits");
}

static int ends(void (*work)(void))
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        work();
        _exit(0);
    }
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void too_big(void)
{
    struct rlimit limit = {1000, 1000};
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    char data[2000] = {0};
    if (setrlimit(RLIMIT_FSIZE, &limit) || write(fd, data, 2000) != 1000)
        _exit(1);
    signal(SIGXFSZ, SIG_IGN);
    if (write(fd, data, 1) != -1 || errno != EFBIG)
        _exit(2);
    signal(SIGXFSZ, SIG_DFL);
    ssize_t n = write(fd, data, 1);
    _exit(3 + (int)n);
}

static void too_long(void)
{
    struct rlimit limit = {1, 2};
    setrlimit(RLIMIT_CPU, &limit);
    for (volatile unsigned i = 0;; i++)
        ;
}

static void at_the_limit(void)
{
    printf("file size: %d\n", ends(too_big));
    printf("processor time: %d\n", ends(too_long));
}

static void scheduling(void)
{
    CHECK_IS(sched_getscheduler(0), SCHED_OTHER);
    struct sched_param parameter = {0};
    CHECK_IS(sched_getparam(0, &parameter), 0);
    printf("priorities %d to %d\n", sched_get_priority_min(SCHED_FIFO),
           sched_get_priority_max(SCHED_FIFO));
    CHECK_IS(sched_yield(), 0);
    errno = 0;
    int nice_before = getpriority(PRIO_PROCESS, 0);
    CHECK_IS(errno, 0);
    CHECK_IS(setpriority(PRIO_PROCESS, 0, nice_before + 3), 0);
    CHECK_IS(getpriority(PRIO_PROCESS, 0), nice_before + 3);
    CHECK_IS(nice(1), nice_before + 4);
    cpu_set_t all, one;
    CHECK_IS(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    CHECK_IS(sched_setaffinity(0, sizeof(one), &one), 0);
    CPU_ZERO(&all);
    CHECK_IS(sched_getaffinity(0, sizeof(all), &all), 0);
    CHECK(CPU_EQUAL(&all, &one));
    CPU_ZERO(&one);
    CHECK_ERROR(sched_setaffinity(0, sizeof(one), &one), EINVAL);
    DONE("scheduling");
}

static void controls(void)
{
    int value = -1;
    CHECK_IS(prctl(PR_GET_DUMPABLE), 1);
    CHECK_IS(prctl(PR_SET_DUMPABLE, 0), 0);
    CHECK_IS(prctl(PR_GET_DUMPABLE), 0);
    CHECK_IS(prctl(PR_SET_DUMPABLE, 1), 0);
    CHECK_IS(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
    CHECK_IS(prctl(PR_GET_PDEATHSIG, &value), 0);
    CHECK_IS(value, SIGUSR1);
    CHECK_IS(prctl(PR_SET_PDEATHSIG, 0), 0);
    CHECK_IS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    CHECK_IS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_IS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    CHECK_IS(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK_IS(prctl(PR_GET_CHILD_SUBREAPER, &value), 0);
    CHECK_IS(value, 1);
    CHECK_IS(prctl(PR_GET_TIMERSLACK) > 0, 1);
    CHECK_IS(prctl(PR_CAPBSET_READ, 0) >= 0, 1);
    CHECK_ERROR(prctl(123456), EINVAL);
    DONE("controls");
}

int main(void)
{
    limits();
    at_the_limit();
    scheduling();
    controls();
    return 0;
}
