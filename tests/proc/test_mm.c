/* The program's address space: results and errors of each call, and what they do. */
#include "mm_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cmocka.h>

#define BASE UINT64_C(0x10000000)
#define P(n) (BASE + (n)*MM_PAGE)

/* ---- mmap ---- */

static void test_mmap_errors(void **state)
{
    (void)state;
    const uint64_t page = MM_PAGE;
    assert_int_equal(mm_mmap(&mm, 0, 0, RW, ANON, -1, 0), -EINVAL);
    assert_int_equal(mm_mmap(&mm, 0, page, RW, ANON, -1, 1), -EINVAL);
    assert_int_equal(mm_mmap(&mm, 0, page, RW, MAP_ANONYMOUS, -1, 0), -EINVAL);
    assert_int_equal(mm_mmap(&mm, 0, page, RW, MAP_PRIVATE, -1, 0), -EBADF);
    assert_int_equal(mm_mmap(&mm, 0, UINT64_MAX, RW, ANON, -1, 0), -ENOMEM);
    assert_int_equal(mm_mmap(&mm, 0, MM_HIGH, RW, ANON, -1, 0), -ENOMEM);
    assert_int_equal(mm_mmap(&mm, BASE + 1, page, RW, FIXED, -1, 0), -EINVAL);
    assert_int_equal(mm_mmap(&mm, 0, page, RW, FIXED, -1, 0), -EPERM);
    assert_int_equal(mm_mmap(&mm, MM_HIGH, page, RW, FIXED, -1, 0), -ENOMEM);
    assert_int_equal(mm_mmap(&mm, MM_HIGH - page, 2 * page, RW, FIXED, -1, 0), -ENOMEM);
    assert_int_equal(mm_mmap(&mm, UINT64_MAX - page + 1, page, RW, FIXED, -1, 0), -ENOMEM);
    assert_int_equal(
        mm_mmap(&mm, 0, page, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0),
        -EOPNOTSUPP);
    assert_int_equal(mm.count, 0);
    assert_int_equal(map(BASE, 1, RW), BASE);
    const int noreplace = ANON | MAP_FIXED_NOREPLACE;
    assert_int_equal(mm_mmap(&mm, BASE - page, 2 * page, RW, noreplace, -1, 0), -EEXIST);
    assert_int_equal(mm_mmap(&mm, BASE - page, page, RW, noreplace, -1, 0), BASE - page);
    assert_int_equal(mm_mmap(&mm, MM_HIGH - page, page, RW, FIXED, -1, 0), MM_HIGH - page);
}

static void test_placement(void **state)
{
    (void)state;
    const uint64_t page = MM_PAGE;
    assert_int_equal(mm_mmap(&mm, 0, 1, RW, ANON, -1, 0), MM_TOP - page);
    assert_int_equal(mm_mmap(&mm, 0, 3 * page, RW, ANON | MAP_32BIT, -1, 0), MM_TOP - 4 * page);
    assert_int_equal(mm_munmap(&mm, MM_TOP - 3 * page, page), 0);
    assert_int_equal(mm_mmap(&mm, 0, 2 * page, RW, ANON, -1, 0), MM_TOP - 6 * page);
    assert_int_equal(mm_mmap(&mm, 0, page, RW, ANON, -1, 0), MM_TOP - 3 * page);
    /* Hints: rounded, raised to the lowest address, ignored where something is. */
    assert_int_equal(mm_mmap(&mm, BASE + 5, page, RW, ANON, -1, 0), BASE);
    assert_int_equal(mm_mmap(&mm, BASE, page, RW, ANON, -1, 0), MM_TOP - 7 * page);
    assert_int_equal(mm_mmap(&mm, 5000, page, RW, ANON, -1, 0), MM_LOW);
    assert_int_equal(mm_mmap(&mm, 5, page, RW, ANON, -1, 0), MM_TOP - 8 * page);
    assert_int_equal(mm_mmap(&mm, MM_HIGH, page, RW, ANON, -1, 0), MM_TOP - 9 * page);
    assert_int_equal(mm_mmap(&mm, UINT64_MAX, page, RW, ANON, -1, 0), MM_TOP - 10 * page);
    assert_int_equal(mm_mmap(&mm, MM_HIGH - page, page, RW, ANON, -1, 0), MM_HIGH - page);
    /* What does not fit below MM_TOP. */
    const int lazy = ANON | MAP_NORESERVE;
    assert_int_equal(mm_mmap(&mm, 0, MM_TOP, PROT_NONE, lazy, -1, 0), MM_HIGH - page - MM_TOP);
    assert_int_equal(mm_munmap(&mm, MM_LOW, MM_TOP - MM_LOW), 0);
    assert_int_equal(mm_mmap(&mm, 0, page, RW, ANON, -1, 0), MM_TOP - page);
}

/* What the list does not know of is respected, and known afterwards. */
static void test_foreign(void **state)
{
    (void)state;
    void *foreign = mmap((void *)(uintptr_t)(MM_TOP - MM_PAGE), MM_PAGE, PROT_READ, FIXED, -1, 0);
    assert_ptr_not_equal(foreign, MAP_FAILED);
    assert_int_equal(mm_mmap(&mm, 0, MM_PAGE, RW, ANON, -1, 0), MM_TOP - 2 * MM_PAGE);
    assert_int_equal(prot_at(MM_TOP - MM_PAGE), PROT_READ);
}

static void test_file(void **state)
{
    (void)state;
    int fd = memfd_create("file", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, 3 * MM_PAGE) == 0);
    int64_t at = mm_mmap(&mm, 0, 3 * MM_PAGE, RW, MAP_SHARED, fd, 0);
    assert_int_equal(at, MM_TOP - 3 * MM_PAGE);
    *(volatile uint32_t *)(uintptr_t)(at + 2 * (int64_t)MM_PAGE) = 77;
    int64_t copy = mm_mmap(&mm, BASE, MM_PAGE, RX, MAP_PRIVATE | MAP_FIXED, fd, 2 * MM_PAGE);
    assert_int_equal(copy, BASE);
    assert_int_equal(*(volatile uint32_t *)(uintptr_t)copy, 77);
    assert_int_equal(mm_mmap(&mm, 0, MM_PAGE, RW, MAP_PRIVATE, fd, UINT64_MAX - 8191), -EOVERFLOW);
    close(fd);
    /* A failure of MAP_FIXED may have unmapped what was there, or not: the list knows. */
    int pipes[2], prot;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(mm_mmap(&mm, BASE, MM_PAGE, RW, MAP_PRIVATE | MAP_FIXED, pipes[0], 0),
                     -ENODEV);
    kernel_pages(BASE, 1, &prot);
    assert_int_equal(prot >= 0, mm_mapped(&mm, BASE, 1));
    close(pipes[0]);
    close(pipes[1]);
}

static void test_grows_down(void **state)
{
    (void)state;
    const uint64_t top = P(2000);
    assert_int_equal(mm_mmap(&mm, top, MM_PAGE, RW, FIXED | MAP_GROWSDOWN, -1, 0), top);
    /* Nothing comes close below it, though it is what a hint asks for. */
    assert_int_equal(mm_mmap(&mm, top - MM_PAGE, MM_PAGE, RW, ANON, -1, 0), MM_TOP - MM_PAGE);
    assert_int_equal(mm_mmap(&mm, top - 257 * MM_PAGE, MM_PAGE, RW, ANON, -1, 0),
                     top - 257 * MM_PAGE);
    assert_int_equal(mm_munmap(&mm, top - 257 * MM_PAGE, MM_PAGE), 0);
    assert_false(mm_mapped(&mm, top - MM_PAGE, 1));
    /* It grows; the list learns. */
    *(volatile char *)(uintptr_t)(top - 3 * MM_PAGE) = 1;
    assert_true(mm_mapped(&mm, top - 3 * MM_PAGE, 4 * MM_PAGE));
    assert_int_equal(mm_mprotect(&mm, top, MM_PAGE, PROT_READ | PROT_GROWSDOWN), 0);
    assert_int_equal(prot_at(top - 3 * MM_PAGE), PROT_READ);
    assert_int_equal(mm_mprotect(&mm, MM_TOP - MM_PAGE, MM_PAGE, RW | PROT_GROWSDOWN), -EINVAL);
    assert_int_equal(mm_mprotect(&mm, BASE, MM_PAGE, RW | PROT_GROWSDOWN), -ENOMEM);
    assert_int_equal(mm_mprotect(&mm, top, MM_PAGE, RW | PROT_GROWSUP), -EINVAL);
}

/* ---- munmap, mprotect, madvise ---- */

static void test_munmap(void **state)
{
    (void)state;
    assert_int_equal(mm_munmap(&mm, BASE + 1, MM_PAGE), -EINVAL);
    assert_int_equal(mm_munmap(&mm, BASE, 0), -EINVAL);
    assert_int_equal(mm_munmap(&mm, BASE, UINT64_MAX), -EINVAL);
    assert_int_equal(mm_munmap(&mm, MM_HIGH, MM_PAGE), -EINVAL);
    assert_int_equal(mm_munmap(&mm, MM_HIGH - MM_PAGE, 2 * MM_PAGE), -EINVAL);
    assert_int_equal(mm_munmap(&mm, UINT64_MAX - MM_PAGE + 1, MM_PAGE), -EINVAL);
    assert_int_equal(mm_munmap(&mm, 0, MM_LOW), 0);
    assert_int_equal(mm_munmap(&mm, BASE, MM_PAGE), 0);
    assert_int_equal(map(BASE, 5, RW), BASE);
    assert_int_equal(mm_munmap(&mm, P(1), 1), 0);
    assert_int_equal(mm_munmap(&mm, P(3), MM_PAGE + 1), 0);
    assert_true(mm_mapped(&mm, P(0), MM_PAGE) && mm_mapped(&mm, P(2), MM_PAGE));
    assert_int_equal(mm.count, 2);
    assert_int_equal(mm_munmap(&mm, 0, MM_HIGH), 0);
    assert_int_equal(mm.count, 0);
    assert_int_equal(changed.count, 0);
}

static void test_mprotect(void **state)
{
    (void)state;
    assert_int_equal(mm_mprotect(&mm, BASE + 1, MM_PAGE, RW), -EINVAL);
    assert_int_equal(mm_mprotect(&mm, BASE, 0, RW), 0);
    assert_int_equal(mm_mprotect(&mm, BASE, MM_PAGE, 0x40), -EINVAL);
    assert_int_equal(mm_mprotect(&mm, BASE, MM_PAGE, RW), -ENOMEM);
    assert_int_equal(mm_mprotect(&mm, BASE, UINT64_MAX, RW), -ENOMEM);
    assert_int_equal(mm_mprotect(&mm, MM_HIGH, MM_PAGE, RW), -ENOMEM);
    assert_int_equal(map(BASE, 3, RW), BASE);
    assert_int_equal(map(P(4), 1, RW), P(4));
    /* Up to the hole and no further. */
    assert_int_equal(mm_mprotect(&mm, P(1), 4 * MM_PAGE, PROT_READ), -ENOMEM);
    assert_int_equal(prot_at(P(0)), RW);
    assert_int_equal(prot_at(P(1)), PROT_READ);
    assert_int_equal(prot_at(P(2)), PROT_READ);
    assert_int_equal(prot_at(P(4)), RW);
    /* Up to what must not be written. */
    int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int fixed = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(mm_mmap(&mm, P(3), MM_PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fixed, 0),
                     P(3));
    assert_int_equal(mm_mprotect(&mm, P(0), 5 * MM_PAGE, RW | PROT_EXEC), -EACCES);
    assert_int_equal(prot_at(P(2)), RW | PROT_EXEC);
    assert_int_equal(prot_at(P(3)), PROT_READ);
    assert_int_equal(prot_at(P(4)), RW);
    close(fd);
    close(fixed);
}

static void test_madvise(void **state)
{
    (void)state;
    volatile char *p = (volatile char *)(uintptr_t)BASE;
    assert_int_equal(map(BASE, 2, RW | PROT_EXEC), BASE);
    *p = 1;
    changed.count = 0;
    assert_int_equal(mm_madvise(&mm, BASE, MM_PAGE, MADV_WILLNEED), 0);
    assert_int_equal(changed.count, 0);
    assert_int_equal(mm_madvise(&mm, BASE, MM_PAGE, MADV_DONTNEED), 0);
    assert_int_equal(changed.count, 1);
    assert_int_equal(*p, 0);
    *p = 1;
    assert_int_equal(mm_madvise(&mm, BASE, 3 * MM_PAGE, MADV_DONTNEED), -ENOMEM);
    assert_int_equal(*p, 0);
    assert_int_equal(mm_madvise(&mm, BASE, UINT64_MAX, MADV_DONTNEED), -EINVAL);
    assert_int_equal(mm_madvise(&mm, BASE + 1, 1, MADV_DONTNEED), -EINVAL);
    assert_int_equal(mm_madvise(&mm, BASE, 1, 12345), -EINVAL);
    assert_int_equal(mm_madvise(&mm, MM_HIGH, MM_PAGE, 12345), -EINVAL);
    assert_int_equal(mm_madvise(&mm, BASE, 0, MADV_DONTNEED), 0);
    /* Guise's own memory is not the program's. */
    assert_int_equal(mm_madvise(&mm, (uintptr_t)&mm & ~(MM_PAGE - 1), MM_PAGE, MADV_DONTNEED),
                     -ENOMEM);
    assert_int_equal(mm.count, 1);
}

static void test_code(void **state)
{
    (void)state;
    int prot;
    assert_int_equal(map(BASE, 2, PROT_EXEC), BASE);
    assert_int_equal(changed.count, 1);
    kernel_pages(BASE, 1, &prot);
    assert_int_equal(prot, PROT_READ);
    assert_true(mm_executable(&mm, BASE) && mm_executable(&mm, P(2) - 1));
    assert_false(mm_executable(&mm, P(2)));
    assert_int_equal(mm_mprotect(&mm, P(1), MM_PAGE, RW), 0);
    assert_int_equal(changed.count, 2);
    assert_int_equal(changed.start, P(1));
    assert_int_equal(changed.end, P(2));
    assert_false(mm_executable(&mm, P(1)));
    assert_int_equal(mm_mprotect(&mm, P(1), MM_PAGE, PROT_NONE), 0);
    assert_int_equal(changed.count, 2);
    assert_int_equal(map(P(0), 3, RW), P(0));
    assert_int_equal(changed.count, 3);
    assert_int_equal(mm_mprotect(&mm, P(2), MM_PAGE, RX), 0);
    assert_int_equal(changed.count, 4);
    assert_int_equal(mm_munmap(&mm, P(0), 3 * MM_PAGE), 0);
    assert_int_equal(changed.count, 5);
}

/* ---- mremap ---- */

static int64_t remap(uint64_t at, uint64_t old, uint64_t new, int flags, uint64_t to)
{
    return mm_mremap(&mm, at, old * MM_PAGE, new *MM_PAGE, flags, to);
}

static void test_mremap_errors(void **state)
{
    (void)state;
    const int fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_int_equal(map(BASE, 4, RW), BASE);
    assert_int_equal(remap(BASE, 4, 5, 8, 0), -EINVAL);
    assert_int_equal(remap(BASE, 4, 5, MREMAP_FIXED, P(8)), -EINVAL);
    assert_int_equal(remap(BASE, 4, 5, MREMAP_MAYMOVE | 4, P(8)), -EINVAL);
    assert_int_equal(remap(BASE + 1, 4, 5, 0, 0), -EINVAL);
    assert_int_equal(remap(BASE, 4, 0, 0, 0), -EINVAL);
    assert_int_equal(remap(P(5), 4, 5, 0, 0), -EFAULT);
    assert_int_equal(remap(MM_HIGH, 1, 2, MREMAP_MAYMOVE, 0), -EFAULT);
    assert_int_equal(remap(BASE, 5, 6, 0, 0), -EFAULT);
    assert_int_equal(remap(BASE, 4, 4, fixed, P(3)), -EINVAL);
    assert_int_equal(remap(BASE, 4, 4, fixed, P(9) + 1), -EINVAL);
    assert_int_equal(remap(BASE, 4, 4, fixed, MM_HIGH - MM_PAGE), -EINVAL);
    assert_int_equal(remap(BASE, 4, 4, fixed, (uintptr_t)&mm & ~(MM_PAGE - 1)), -EINVAL);
    assert_int_equal(remap(BASE, 0, 4, MREMAP_MAYMOVE, 0), -EINVAL);
    assert_int_equal(mm.count, 1);
}

static void test_mremap(void **state)
{
    (void)state;
    const int fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_int_equal(map(BASE, 4, RW | PROT_EXEC), BASE);
    *(volatile int *)(uintptr_t)BASE = 9;
    assert_int_equal(remap(BASE, 4, 2, 0, 0), BASE);
    assert_false(mm_mapped(&mm, P(2), 1));
    assert_int_equal(remap(BASE, 2, 3, 0, 0), BASE);
    assert_int_equal(prot_at(P(2)), RW | PROT_EXEC);
    assert_int_equal(map(P(3), 1, RW), P(3));
    assert_int_equal(remap(BASE, 3, 4, 0, 0), -ENOMEM);
    int64_t at = remap(BASE, 3, 4, MREMAP_MAYMOVE, 0);
    assert_int_equal(at, MM_TOP - 4 * MM_PAGE);
    assert_int_equal(*(volatile int *)(uintptr_t)at, 9);
    assert_false(mm_mapped(&mm, BASE, MM_PAGE));
    assert_true(mm_executable(&mm, MM_TOP - 1));
    assert_int_equal(remap((uint64_t)at, 4, 1, fixed, P(3)), P(3));
    assert_int_equal(*(volatile int *)(uintptr_t)P(3), 9);
    assert_int_equal(mm.count, 1);
    /* Leaves what is empty afterwards. */
    at = remap(P(3), 1, 1, MREMAP_MAYMOVE | 4, 0);
    assert_int_equal(at, MM_TOP - MM_PAGE);
    assert_int_equal(*(volatile int *)(uintptr_t)at, 9);
    assert_int_equal(*(volatile int *)(uintptr_t)P(3), 0);
    assert_int_equal(mm.count, 2);
    /* Shared memory a second time. */
    assert_int_equal(mm_mmap(&mm, BASE, MM_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     BASE);
    at = remap(BASE, 0, 1, MREMAP_MAYMOVE, 0);
    assert_int_equal(at, MM_TOP - 2 * MM_PAGE);
    *(volatile int *)(uintptr_t)BASE = 5;
    assert_int_equal(*(volatile int *)(uintptr_t)at, 5);
    /* Not beyond the program's part, though the host has room there. */
    assert_int_equal(map(MM_HIGH - MM_PAGE, 1, RW), MM_HIGH - MM_PAGE);
    assert_int_equal(remap(MM_HIGH - MM_PAGE, 1, 2, 0, 0), -ENOMEM);
}

/* ---- the heap, segments ---- */

static void test_brk(void **state)
{
    (void)state;
    struct rlimit before, limit;
    const int64_t start = (int64_t)BASE;
    mm_set_heap(&mm, BASE);
    assert_int_equal(mm_brk(&mm, 0), start);
    assert_int_equal(mm_brk(&mm, BASE + 10), start + 10);
    assert_int_equal(prot_at(BASE), RW);
    *(volatile char *)(uintptr_t)BASE = 1;
    assert_int_equal(mm_brk(&mm, P(3) + 1), start + 3 * 4096 + 1);
    assert_true(mm_mapped(&mm, BASE, 4 * MM_PAGE) && !mm_mapped(&mm, P(4), 1));
    assert_int_equal(mm_brk(&mm, BASE - 1), start + 3 * 4096 + 1);
    assert_int_equal(mm_brk(&mm, UINT64_MAX), start + 3 * 4096 + 1);
    assert_int_equal(mm_brk(&mm, MM_HIGH), start + 3 * 4096 + 1);
    /* A page stays free between the heap and its neighbour. */
    assert_int_equal(map(P(8), 1, RW), P(8));
    assert_int_equal(mm_brk(&mm, P(7) + 1), start + 3 * 4096 + 1);
    assert_int_equal(mm_brk(&mm, P(7)), start + 7 * 4096);
    assert_int_equal(mm_brk(&mm, BASE), start);
    assert_false(mm_mapped(&mm, BASE, 1));
    getrlimit(RLIMIT_DATA, &before);
    limit = before;
    limit.rlim_cur = 2 * MM_PAGE;
    setrlimit(RLIMIT_DATA, &limit);
    assert_int_equal(mm_brk(&mm, P(3)), start);
    setrlimit(RLIMIT_DATA, &before);
    assert_int_equal(mm_brk(&mm, P(3)), start + 3 * 4096);
}

static void test_shm(void **state)
{
    (void)state;
    int id = shmget(IPC_PRIVATE, 2 * MM_PAGE + 1, IPC_CREAT | 0600);
    if (id < 0)
        skip();
    assert_int_equal(mm_shmat(&mm, -1, 0, 0), -EINVAL);
    assert_int_equal(mm_shmat(&mm, id, BASE + 1, 0), -EINVAL);
    assert_int_equal(mm_shmat(&mm, id, 0, SHM_REMAP), -EINVAL);
    assert_int_equal(mm_shmat(&mm, id, MM_HIGH - MM_PAGE, 0), -EINVAL);
    int64_t at = mm_shmat(&mm, id, 0, 0);
    assert_int_equal(at, MM_TOP - 3 * MM_PAGE);
    assert_int_equal(mm_shmat(&mm, id, BASE + 1, SHM_RND | SHM_RDONLY | SHM_EXEC), BASE);
    assert_int_equal(prot_at(BASE), RX);
    *(volatile int *)(uintptr_t)at = 4;
    assert_int_equal(*(volatile int *)(uintptr_t)BASE, 4);
    assert_int_equal(mm_shmat(&mm, id, P(2), 0), -EINVAL);
    assert_int_equal(mm_shmat(&mm, id, P(2), SHM_REMAP), P(2));
    assert_int_equal(prot_at(P(4)), RW);
    /* One page of it is something else since, and stays. */
    assert_int_equal(map(P(3), 1, PROT_READ), P(3));
    assert_int_equal(mm_shmdt(&mm, P(2)), 0);
    assert_int_equal(prot_at(P(2)), -1);
    assert_int_equal(prot_at(P(3)), PROT_READ);
    assert_int_equal(prot_at(P(1)), RX);
    assert_int_equal(mm_shmdt(&mm, P(2)), -EINVAL);
    assert_int_equal(mm_shmdt(&mm, BASE), 0);
    assert_int_equal(mm_shmdt(&mm, (uint64_t)at), 0);
    assert_int_equal(mm.count, 1);
    shmctl(id, IPC_RMID, NULL);
}

/* ---- /proc/self/maps ---- */

static void test_print(void **state)
{
    (void)state;
    int fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(mm_mmap(&mm, BASE, 3 * MM_PAGE, RX, MAP_PRIVATE | MAP_FIXED, fd, MM_PAGE),
                     BASE);
    assert_int_equal(mm_mprotect(&mm, P(1), MM_PAGE, PROT_READ), 0);
    mm_set_heap(&mm, P(4));
    mm_brk(&mm, P(5));
    assert_int_equal(map(P(5), 1, RW), P(5));
    assert_int_equal(map(P(9), 2, RW | PROT_EXEC), P(9));
    mm_set_stack(&mm, P(9), P(11));
    char *text = NULL, expected[256];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    mm_print_maps(&mm, out);
    fclose(out);
    const char *line = text;
    static const char *const starts[] = {
        "10000000-10001000 r-xp 00001000 ",           "10001000-10002000 r--p 00002000 ",
        "10002000-10003000 r-xp 00003000 ",           "10004000-10005000 rw-p 00000000 00:00 0 ",
        "10005000-10006000 rw-p 00000000 00:00 0 \n", "10009000-1000b000 rwxp 00000000 00:00 0 "};
    static const char *const names[] = {"/memfd:file (deleted)",
                                        "/memfd:file (deleted)",
                                        "/memfd:file (deleted)",
                                        "[heap]",
                                        "",
                                        "[stack]"};
    for (unsigned i = 0; i < 6; i++) {
        const char *next = strchr(line, '\n');
        assert_non_null(next);
        assert_memory_equal(line, starts[i], strlen(starts[i]));
        snprintf(expected, sizeof expected, "%.*s", (int)(next - line), line);
        if (names[i][0])
            assert_string_equal(expected + 73, names[i]);
        line = next + 1;
    }
    assert_string_equal(line, "");
    free(text);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, mm_rig_begin, mm_rig_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mmap_errors), TEST(placement), TEST(foreign), TEST(file),  TEST(grows_down),
        TEST(munmap),      TEST(mprotect),  TEST(madvise), TEST(code),  TEST(mremap_errors),
        TEST(mremap),      TEST(brk),       TEST(shm),     TEST(print),
    };
    if (!mm_rig_usable())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
