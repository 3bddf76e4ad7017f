/* Processes: fork(), exec of this same program, which ends at once, and wait. Every second child
 * ends without exec. The unit is one child. */
#include "bench.h"

#include <sys/wait.h>
#include <unistd.h>

static void child(int number)
{
    if (number % 2 == 0) {
        const char *const *self = bench_self("exit");
        execv(self[0], (char *const *)self);
        _exit(99);
    }
    _exit(number & 63);
}

static uint64_t run(uint64_t count)
{
    uint64_t sum = 1;
    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            child((int)i);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
            bench_fail("a child cannot be started or did not end well");
        if (WEXITSTATUS(status) != (i % 2 ? (int)(i & 63) : 0))
            bench_fail("a child ended with another code than it should");
        sum = bench_mix(sum, (uint64_t)WEXITSTATUS(status));
    }
    bench_stop();
    return sum;
}

const struct bench_program bench_forkexec = {"forkexec", "trap", 1, 1000, 100, 10, run};
