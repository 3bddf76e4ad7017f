/* The broker: what it is asked for, and that it does the last of its jobs however the other ends.
 */
#include "sandbox/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { JOB_ADD, JOB_OPEN, JOB_END, JOBS };

static int add(void *ctx, unsigned arg, int *fd)
{
    (void)fd;
    return *(int *)ctx + (int)arg;
}

static int open_zero(void *ctx, unsigned arg, int *fd)
{
    (void)ctx, (void)arg;
    *fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    return 0;
}

static void end(void *ctx)
{
    unlink(ctx);
}

static struct broker *make(int *number, char *file)
{
    const struct broker_job jobs[JOBS] = {
        [JOB_ADD] = {.run = add, .ctx = number},
        [JOB_OPEN] = {.run = open_zero},
        [JOB_END] = {.end = end, .ctx = file},
    };
    return broker_new(jobs, JOBS, NULL);
}

static void make_file(char file[32])
{
    strcpy(file, "/tmp/guise-broker-XXXXXX");
    int fd = mkstemp(file);
    assert_return_code(fd, errno);
    close(fd);
}

static void jobs_by_number(void **state)
{
    int number = 40, fd;
    char byte = 1, file[32];
    (void)state;
    make_file(file);
    struct broker *b = make(&number, file);
    assert_non_null(b);
    number = 0; /* the broker has its own */
    assert_int_equal(broker_call(b, JOB_ADD, 2, &fd), 42);
    assert_int_equal(fd, -1);
    assert_int_equal(broker_call(b, JOB_OPEN, 0, &fd), 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(byte, 0);
    close(fd);
    assert_int_equal(broker_call(b, JOB_END, 0, &fd), -EPIPE); /* nothing to be asked for */
    broker_free(b);
    assert_true(wait(NULL) > 0);
    assert_int_equal(access(file, F_OK), -1);
}

/* A terminal that goes away, or one that types ^C, may be quicker than the broker's first step. */
static void end_by_signals(void **state)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT};
    (void)state;
    assert_return_code(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (unsigned i = 0; i < 200; i++) {
        int number = 0, status;
        char file[32];
        make_file(file);
        pid_t pid = fork();
        if (!pid) {
            setpgid(0, 0);
            for (unsigned k = 0; k < 4; k++)
                signal(signals[k], SIG_DFL);
            make(&number, file);
            kill(0, signals[i % 4]);
            _exit(1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_true(wait(&status) > 0); /* the broker, as its parent is gone */
        assert_true(WIFEXITED(status));
        assert_int_equal(access(file, F_OK), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_by_number),
        cmocka_unit_test(end_by_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
