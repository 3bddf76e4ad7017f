/*
 * A load for a disk, inside a guest: processes that keep so many requests in flight on a device,
 * with Linux's asynchronous I/O and past its page cache. Static, nothing but libc; see bench/disk.
 *
 *     diskload DEVICE read|write|randread|randwrite BYTES DEPTH PROCESSES SECONDS
 *
 * prints `load: KIND BYTES DEPTH PROCESSES REQUESTS SECONDS`.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 64

struct load {
    const char *device;
    int random, write;
    uint64_t bytes, units;
    int depth, processes;
    double seconds;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The unit of the next request: each process has its own part when they go in order. */
static uint64_t next_unit(const struct load *l, uint64_t *at, uint64_t *random)
{
    if (!l->random)
        return (*at)++ % l->units;
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % l->units;
}

static void submit(aio_context_t ring, const struct load *l, struct iocb *cb, uint64_t unit)
{
    cb->aio_lio_opcode = l->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    cb->aio_offset = (int64_t)(unit * l->bytes);
    if (syscall(SYS_io_submit, ring, 1L, &cb) != 1)
        fail("io_submit");
}

/* Returns how many requests were done. */
static uint64_t work(const struct load *l, int number)
{
    static struct iocb cbs[DEPTH_MAX];
    struct io_event events[DEPTH_MAX];
    aio_context_t ring = 0;
    uint64_t done = 0, random = 88172645463325252u + (unsigned)number;
    uint64_t at = l->units / (unsigned)l->processes * (unsigned)number;
    int fd = open(l->device, (l->write ? O_RDWR : O_RDONLY) | O_DIRECT);
    char *data = mmap(NULL, l->bytes * (unsigned)l->depth, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (fd < 0 || data == MAP_FAILED || syscall(SYS_io_setup, DEPTH_MAX, &ring))
        fail(l->device);
    double end = now() + l->seconds;
    for (int i = 0; i < l->depth; i++) {
        cbs[i].aio_fildes = (uint32_t)fd;
        cbs[i].aio_buf = (uint64_t)(uintptr_t)(data + l->bytes * (unsigned)i);
        cbs[i].aio_nbytes = l->bytes;
        submit(ring, l, &cbs[i], next_unit(l, &at, &random));
    }
    for (int flying = l->depth; flying;) {
        long n = syscall(SYS_io_getevents, ring, 1L, (long)flying, events, NULL);
        int more = now() < end;
        for (long i = 0; i < n; i++, done++) {
            if (events[i].res != (int64_t)l->bytes)
                fail("a request");
            if (more)
                submit(ring, l, (struct iocb *)(uintptr_t)events[i].obj,
                       next_unit(l, &at, &random));
            else
                flying--;
        }
    }
    return done;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "diskload DEVICE KIND BYTES DEPTH PROCESSES SECONDS\n");
        return 2;
    }
    struct load l = {
        .device = argv[1],
        .random = !strncmp(argv[2], "rand", 4),
        .write = strstr(argv[2], "write") != NULL,
        .bytes = strtoul(argv[3], NULL, 10),
        .depth = atoi(argv[4]),
        .processes = atoi(argv[5]),
        .seconds = atof(argv[6]),
    };
    uint64_t size, total = 0;
    int fd = open(l.device, O_RDONLY), results[2];
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) || pipe(results))
        fail(l.device);
    l.units = size / l.bytes;
    double start = now();
    for (int i = 0; i < l.processes; i++)
        if (!fork()) {
            uint64_t done = work(&l, i);
            return write(results[1], &done, sizeof done) != sizeof done;
        }
    close(results[1]);
    for (uint64_t done; read(results[0], &done, sizeof done) == sizeof done;)
        total += done;
    printf("load: %s %s %d %d %llu %.3f\n", argv[2], argv[3], l.depth, l.processes,
           (unsigned long long)total, now() - start);
    return 0;
}
