#include "mm_rig.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct mm mm;
struct process process;
struct mm_rig_changed changed;

void process_code_changed(struct process *p, uint64_t start, uint64_t end)
{
    assert_ptr_equal(p, &process);
    assert_int_equal(pthread_mutex_trylock(&mm.lock), 0); /* as promised, not held */
    pthread_mutex_unlock(&mm.lock);
    changed.count++;
    changed.start = start;
    changed.end = end;
}

int mm_rig_begin(void **state)
{
    struct error err = {0};
    (void)state;
    changed.count = 0;
    if (mm_init(&mm, &process, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    return 0;
}

int mm_rig_end(void **state)
{
    (void)state;
    while (mm.count)
        assert_int_equal(mm_munmap(&mm, mm.range[0].start, mm.range[0].end - mm.range[0].start), 0);
    mm_fini(&mm);
    return 0;
}

bool mm_rig_usable(void)
{
    if (mm_init(&mm, &process, NULL)) {
        puts("skipped: there is memory already where the program's would be");
        return false;
    }
    mm_fini(&mm);
    return true;
}

int64_t map(uint64_t at, unsigned pages, int prot)
{
    return mm_mmap(&mm, at, pages * MM_PAGE, prot, FIXED, -1, 0);
}

int prot_at(uint64_t va)
{
    for (unsigned i = 0; i < mm.count; i++) {
        if (va >= mm.range[i].start && va < mm.range[i].end)
            return mm.range[i].prot;
    }
    return -1;
}

void kernel_pages(uint64_t start, unsigned n, int *prot)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512], perms[5];
    uint64_t a, b;
    for (unsigned i = 0; i < n; i++)
        prot[i] = -1;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &a, &b, perms), 3);
        for (uint64_t at = a > start ? a : start; at < b && at < start + n * MM_PAGE; at += MM_PAGE)
            prot[(at - start) / MM_PAGE] = (perms[0] == 'r' ? PROT_READ : 0) |
                                           (perms[1] == 'w' ? PROT_WRITE : 0) |
                                           (perms[2] == 'x' ? PROT_EXEC : 0);
    }
    fclose(f);
}
