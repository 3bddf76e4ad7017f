/* System calls: getppid(), which does nothing, and for every fourth a read() of 4 KiB of zeros. The
 * unit is one getppid(). */
#include "bench.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t run(uint64_t count)
{
    static char buffer[4096];
    int zero = open("/dev/zero", O_RDONLY);
    if (zero < 0)
        bench_fail("/dev/zero cannot be opened");
    long parent = syscall(SYS_getppid);
    uint64_t bytes = 0;

    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        if (syscall(SYS_getppid) != parent)
            bench_fail("getppid() changes its answer");
        if (i % 4 == 0) {
            buffer[i % sizeof(buffer)] = 1;
            bytes += (uint64_t)read(zero, buffer, sizeof(buffer));
            bytes += (uint64_t)buffer[i % sizeof(buffer)];
        }
    }
    bench_stop();
    close(zero);
    return bench_mix(1, bytes);
}

const struct bench_program bench_syscalls = {"syscalls", "trap", 1, 1500000, 150000, 1000, run};
