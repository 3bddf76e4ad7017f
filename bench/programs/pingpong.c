/* Two processes that pass eight bytes to and fro through two pipes. The unit is one round trip. */
#include "bench.h"

#include <sys/wait.h>
#include <unistd.h>

static void answer(int from, int to)
{
    uint64_t word;
    while (read(from, &word, sizeof(word)) == sizeof(word)) {
        word = bench_mix(word, 1);
        if (write(to, &word, sizeof(word)) != sizeof(word))
            _exit(1);
    }
    _exit(0);
}

static uint64_t run(uint64_t count)
{
    int there[2], back[2], status;
    if (pipe(there) || pipe(back))
        bench_fail("there is no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        close(there[1]);
        answer(there[0], back[1]);
    }
    uint64_t word = 1;

    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        if (write(there[1], &word, sizeof(word)) != sizeof(word) ||
            read(back[0], &word, sizeof(word)) != sizeof(word))
            bench_fail("a pipe broke");
    }
    bench_stop();
    close(there[1]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        bench_fail("the other process did not end well");
    return word;
}

const struct bench_program bench_pingpong = {"pingpong", "trap", 2, 60000, 6000, 200, run};
