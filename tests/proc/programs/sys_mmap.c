/* Mappings: places, protections and their faults, files, mremap, what lies beyond. */
#include "check.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE 4096UL

static sigjmp_buf back;
static volatile int expected, signal_number, signal_code;
static void *volatile signal_address;

static void fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!expected)
        check_failed(__FILE__, __LINE__, "unexpected signal %d at %p", number, info->si_addr);
    expected = 0;
    signal_number = number;
    signal_code = info->si_code;
    signal_address = info->si_addr;
    siglongjmp(back, 1);
}

/* What happens at an access: 0, or signal * 100 + code, the address being this one. */
static int access_at(volatile char *at, int store)
{
    if (sigsetjmp(back, 1)) {
        CHECK(signal_address == (void *)at);
        return signal_number * 100 + signal_code;
    }
    expected = 1;
    if (store)
        *at = 'w';
    else
        (void)*at;
    expected = 0;
    return 0;
}

static char *map(void *at, size_t size, int prot, int flags)
{
    return mmap(at, size, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void protection(void)
{
    char *at = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, 0);
    CHECK(at != MAP_FAILED);
    CHECK_IS(at[5000], 0);
    CHECK_IS(mprotect(at + PAGE, PAGE, PROT_READ), 0);
    CHECK_IS(mprotect(at + 2 * PAGE, PAGE, PROT_NONE), 0);
    printf("read only: %d %d\n", access_at(at + PAGE, 0), access_at(at + PAGE + 7, 1));
    printf("nothing: %d %d\n", access_at(at + 2 * PAGE, 0), access_at(at + 3 * PAGE - 1, 1));
    printf("beside: %d %d\n", access_at(at + PAGE - 1, 1), access_at(at + 3 * PAGE, 1));
    CHECK_IS(munmap(at + PAGE, PAGE), 0);
    printf("gone: %d %d\n", access_at(at + PAGE, 0), access_at(at + PAGE, 1));
    CHECK_ERROR(mprotect(at, 4 * PAGE, PROT_READ), ENOMEM);
    printf("up to the hole: %d %d\n", access_at(at, 1), access_at(at + 3 * PAGE, 1));
    CHECK_ERROR(mprotect(at + 1, PAGE, PROT_READ), EINVAL);
    CHECK_IS(mprotect(at, 0, PROT_READ), 0);
    CHECK_IS(munmap(at, 4 * PAGE), 0);
    printf("null: %d, low: %d\n", access_at(NULL, 0), access_at((char *)4095, 1));
    printf("wild: %d\n", access_at((char *)0x123456789000, 0) / 100);
    /* Half of an access lies in a page that must not be read. */
    at = map(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, 0);
    CHECK_IS(mprotect(at + PAGE, PAGE, PROT_NONE), 0);
    if (!sigsetjmp(back, 1)) {
        uint64_t value;
        expected = 1;
        __builtin_memcpy(&value, at + PAGE - 8, 8);
        expected = 0;
        printf("whole: %d\n", (int)value);
    }
    CHECK_IS(munmap(at, 2 * PAGE), 0);
    DONE("protection");
}

static void places(void)
{
    char *at = map(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, 0);
    memset(at, 'a', 8 * PAGE);
    CHECK(map(at + 2 * PAGE, PAGE, PROT_READ, MAP_FIXED) == at + 2 * PAGE);
    CHECK(at[2 * PAGE] == 0 && at[3 * PAGE] == 'a');
    CHECK_ERROR(map(at, PAGE, PROT_READ, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK_IS(munmap(at + 4 * PAGE, 2 * PAGE), 0);
    CHECK_ERROR(map(at + 4 * PAGE, 3 * PAGE, PROT_READ, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK_ERROR(map(at + 3 * PAGE, 2 * PAGE, PROT_READ, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK(map(at + 4 * PAGE, 2 * PAGE, PROT_READ, MAP_FIXED_NOREPLACE) == at + 4 * PAGE);
    /* A place that is taken is only a wish. */
    char *other = map(at, PAGE, PROT_READ, 0);
    CHECK(other != MAP_FAILED && (other < at || other >= at + 8 * PAGE));
    CHECK_IS(munmap(at + 4 * PAGE, PAGE), 0);
    CHECK(map(at + 4 * PAGE, PAGE, PROT_READ, 0) == at + 4 * PAGE);
    CHECK_IS(munmap(at, 8 * PAGE), 0);
    CHECK_IS(munmap(at, 8 * PAGE), 0);

    CHECK_ERROR(map(NULL, 0, PROT_READ, 0), EINVAL);
    CHECK_ERROR(map((void *)(PAGE * 1000 + 1), PAGE, PROT_READ, MAP_FIXED), EINVAL);
    CHECK_ERROR(map(NULL, (size_t)1 << 62, PROT_READ, 0), ENOMEM);
    CHECK_ERROR(map((void *)-PAGE, PAGE, PROT_READ, MAP_FIXED), ENOMEM);
    CHECK_ERROR(munmap(at + 1, PAGE), EINVAL);
    CHECK_ERROR(munmap(at, 0), EINVAL);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0), EBADF);

    /* A reservation as garbage collectors make it. */
    size_t huge = (size_t)64 << 30;
    at = map(NULL, huge, PROT_NONE, MAP_NORESERVE);
    CHECK(at != MAP_FAILED);
    CHECK_IS(mprotect(at + huge / 2, PAGE, PROT_READ | PROT_WRITE), 0);
    printf("reserved: %d %d\n", access_at(at + huge / 2, 1), access_at(at + huge / 4, 1));
    CHECK_IS(munmap(at, huge), 0);
    DONE("places");
}

static void moving(void)
{
    char *at = map(NULL, 7 * PAGE, PROT_READ | PROT_WRITE, 0);
    for (int i = 0; i < 6; i++)
        memset(at + (size_t)i * PAGE, 'a' + i, PAGE);
    CHECK(mremap(at, 6 * PAGE, 4 * PAGE, 0) == at);
    printf("cut off: %d\n", access_at(at + 4 * PAGE, 0));
    CHECK(mremap(at, 4 * PAGE, 6 * PAGE, 0) == at);
    CHECK(at[3 * PAGE] == 'd' && at[5 * PAGE] == 0);
    CHECK(map(at + 6 * PAGE, PAGE, PROT_READ, MAP_FIXED) == at + 6 * PAGE);
    CHECK_ERROR(mremap(at, 6 * PAGE, 7 * PAGE, 0), ENOMEM);
    char *moved = mremap(at, 6 * PAGE, 20 * PAGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && moved != at);
    CHECK(moved[0] == 'a' && moved[3 * PAGE + 1] == 'd' && moved[19 * PAGE] == 0);
    printf("moved away: %d\n", access_at(at, 0));
    char *target = map(NULL, 30 * PAGE, PROT_NONE, 0);
    CHECK(mremap(moved, 20 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE) ==
          target + PAGE);
    printf("fixed: %c %c %d\n", target[PAGE], target[2 * PAGE], access_at(target + 3 * PAGE, 0));
    char *left = target + PAGE;
    char *copy = mremap(left, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (copy != MAP_FAILED)
        CHECK(copy[0] == 'a' && left[0] == 0);
    CHECK_ERROR(mremap(target + 1, PAGE, PAGE, 0), EINVAL);
    CHECK_ERROR(mremap(target, PAGE, 0, 0), EINVAL);
    CHECK_ERROR(mremap(target, PAGE, PAGE, MREMAP_FIXED, target), EINVAL);
    CHECK_ERROR(mremap((void *)0x123456789000, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
    DONE("moving");
}

static void files(void)
{
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char page[PAGE];
    for (int i = 0; i < 3; i++) {
        memset(page, '0' + i, PAGE);
        CHECK_IS(write(fd, page, PAGE), PAGE);
    }
    CHECK_IS(ftruncate(fd, 2 * PAGE + 100), 0);
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
    CHECK(shared != MAP_FAILED && own != MAP_FAILED);
    CHECK(shared[2 * PAGE + 99] == '2' && shared[2 * PAGE + 100] == 0 && own[0] == '1');
    printf("behind the end: %d\n", access_at(shared + 3 * PAGE, 0));
    shared[5] = 'S';
    own[6] = 'P';
    CHECK_IS(pread(fd, page, 10, 0), 10);
    CHECK_IS(page[5], 'S');
    CHECK_IS(pread(fd, page, 10, PAGE), 10);
    CHECK_IS(page[6], '1');
    CHECK_IS(pwrite(fd, "W", 1, 7), 1);
    CHECK_IS(shared[7], 'W');
    CHECK_IS(msync(shared, PAGE, MS_SYNC), 0);
    CHECK_ERROR(msync(shared + 1, PAGE, MS_SYNC), EINVAL);
    CHECK_IS(ftruncate(fd, 3 * PAGE + 1), 0);
    CHECK_IS(access_at(shared + 3 * PAGE, 0), 0);

    int pipe_of[2];
    CHECK_IS(pipe(pipe_of), 0);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        shared[8] = 'C';
        own[8] = 'C';
        _exit(0);
    }
    CHECK_IS(waitpid(child, NULL, 0), child);
    CHECK(shared[8] == 'C' && own[8] == '1');

    int readable = open("file", O_RDONLY);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, readable, 0), EACCES);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, readable, 0) != MAP_FAILED);
    char *look = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, readable, 0);
    CHECK_ERROR(mprotect(look, PAGE, PROT_READ | PROT_WRITE), EACCES);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100), EINVAL);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipe_of[0], 0), ENODEV);
    CHECK_IS(munmap(shared, 4 * PAGE), 0);
    DONE("files");
}

static void advice(void)
{
    char *at = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_POPULATE);
    memset(at, 'x', 4 * PAGE);
    unsigned char resident[4];
    CHECK_IS(mincore(at, 4 * PAGE, resident), 0);
    CHECK_IS(resident[2] & 1, 1);
    CHECK_IS(madvise(at + PAGE, PAGE, MADV_DONTNEED), 0);
    CHECK(at[PAGE] == 0 && at[0] == 'x');
    CHECK_ERROR(madvise(at, PAGE, 12345), EINVAL);
    CHECK_ERROR(madvise(at + 1, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_IS(madvise(at, 4 * PAGE, MADV_WILLNEED), 0);
    CHECK_IS(madvise(at, PAGE, MADV_DONTFORK), 0);
    CHECK_IS(madvise(at + PAGE, PAGE, MADV_WIPEONFORK), 0);
    at[PAGE] = 'x';
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        _exit(access_at(at, 0) ? 10 + at[PAGE] : 0);
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(WEXITSTATUS(status), 10);
    CHECK_IS(mlock(at, PAGE), 0);
    CHECK_IS(munlock(at, PAGE), 0);
    CHECK_IS(munmap(at, 4 * PAGE), 0);
    CHECK_ERROR(mincore(at, PAGE, resident), ENOMEM);
    DONE("advice");
}

static void stack(void)
{
    struct rlimit limit;
    CHECK_IS(getrlimit(RLIMIT_STACK, &limit), 0);
    volatile char deep[2 << 20];
    deep[0] = 1;
    deep[sizeof(deep) - 1] = 2;
    CHECK_IS(deep[0] + deep[sizeof(deep) - 1], 3);
    char *grows = map(NULL, 16 * PAGE, PROT_NONE, 0);
    CHECK_IS(munmap(grows, 16 * PAGE), 0);
    CHECK(map(grows + 15 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_GROWSDOWN) ==
          grows + 15 * PAGE);
    grows[15 * PAGE] = 1;
    DONE("stack");
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    protection();
    places();
    moving();
    files();
    advice();
    stack();
    return 0;
}
