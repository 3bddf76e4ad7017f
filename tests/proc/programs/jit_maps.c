/* Code that changes by calls: mprotect, munmap and mmap at the same place, mremap, two views of one
 * memory, files, read() into code. */
#include "check.h"
#include "jit.h"

#include <fcntl.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)

static void by_mprotect(void)
{
    unsigned char *at = jit_memory(4096, RW);
    long sum = 0;
    for (int i = 0; i < 500; i++) {
        unsigned char *end = jit_return(at, i);
        CHECK_IS(mprotect(at, 4096, RX), 0);
        jit_flush(at, end);
        sum += jit_call(at, 0);
        CHECK_IS(mprotect(at, 4096, RW), 0);
    }
    printf("mprotect: %ld\n", sum);
    CHECK_IS(munmap(at, 4096), 0);
}

static void by_mmap(void)
{
    unsigned char *place = jit_memory(2 * 4096, PROT_NONE);
    long sum = 0;
    for (int i = 0; i < 300; i++) {
        unsigned char *at = mmap(place, 4096, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        CHECK(at == place);
        jit_return(at, i * 3);
        CHECK_IS(mprotect(at, 4096, RX), 0);
        jit_flush(at, at + JIT_SIZE);
        sum += jit_call(at, 0);
        if (i % 3 == 0)
            CHECK_IS(munmap(at, 4096), 0);
    }
    printf("mmap: %ld\n", sum);
}

static void by_file(void)
{
    int fd = open("code", O_RDWR | O_CREAT | O_TRUNC, 0700);
    unsigned char page[4096] = {0};
    for (int i = 0; i < 4; i++) {
        jit_return(page, 1000 + i);
        CHECK_IS(write(fd, page, 4096), 4096);
    }
    unsigned char *at = jit_memory(4096, PROT_NONE);
    long sum = 0;
    for (int i = 0; i < 100; i++) {
        CHECK(mmap(at, 4096, RX, MAP_PRIVATE | MAP_FIXED, fd, i % 4 * 4096) == at);
        sum = sum * 3 % 1000003 + jit_call(at, 0);
    }
    printf("files: %ld\n", sum);

    /* One memory at two places, as careful JITs have it. */
    int memory = memfd_create("code", 0);
    CHECK_IS(ftruncate(memory, 4096), 0);
    unsigned char *writable = mmap(NULL, 4096, RW, MAP_SHARED, memory, 0);
    unsigned char *executable = mmap(NULL, 4096, RX, MAP_SHARED, memory, 0);
    CHECK(writable != MAP_FAILED && executable != MAP_FAILED);
    sum = 0;
    for (int i = 0; i < 500; i++) {
        jit_add(writable, i);
        jit_flush(executable, executable + JIT_SIZE);
        sum += jit_call(executable, i);
    }
    printf("two views: %ld\n", sum);

    /* The kernel writes the code. */
    unsigned char *all = jit_memory(4096, RW | PROT_EXEC);
    sum = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_IS(pread(fd, all, 64, i % 4 * 4096), 64);
        jit_flush(all, all + 64);
        sum = sum * 5 % 1000003 + jit_call(all, 0);
    }
    printf("read: %ld\n", sum);
}

static void by_mremap(void)
{
    unsigned char *one = jit_memory(4096, RW), *two = jit_memory(4096, RW);
    jit_return(one, 1);
    jit_return(two, 2);
    CHECK_IS(mprotect(one, 4096, RX) | mprotect(two, 4096, RX), 0);
    jit_flush(one, one + JIT_SIZE);
    jit_flush(two, two + JIT_SIZE);
    unsigned char *place = jit_memory(4096, PROT_NONE);
    printf("mremap: %d %d", jit_call(one, 0), jit_call(two, 0));
    CHECK(mremap(one, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    printf(" %d", jit_call(place, 0));
    CHECK(mremap(two, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    printf(" %d\n", jit_call(place, 0));
}

static void by_fork(void)
{
    unsigned char *at = jit_memory(4096, RW | PROT_EXEC);
    jit_flush(at, jit_return(at, 1));
    CHECK_IS(jit_call(at, 0), 1);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int before = jit_call(at, 0);
        jit_flush(at, jit_return(at, 20));
        _exit(before + jit_call(at, 0));
    }
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    printf("fork: %d %d\n", WEXITSTATUS(status), jit_call(at, 0));
}

int main(void)
{
    by_mprotect();
    by_mmap();
    by_file();
    by_mremap();
    by_fork();
    return 0;
}
