/*
 * The first thread's stack as the kernel leaves it. From its end downwards: a zero word, the
 * program's path, the environment's strings, the arguments' strings, 16 random bytes; then, upwards
 * from sp, argc, argv, envp and auxv.
 */
#include "base/bits.h"
#include "proc/elf_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define STACK_DEFAULT (8192 * KIB)
#define STACK_MAX (1024 * 1024 * KIB)
#define STACK_MIN (512 * KIB) /* holds the least that arguments may take */
#define STRING_MAX (128 * KIB)
#define ARGS_MIN (128 * KIB)
#define ARGS_MAX (6144 * KIB)
#define RANDOM_BYTES 16

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#define MIN_SIGNAL_STACK 2048 /* MINSIGSTKSZ of riscv64 */

/* ---- sizes ---- */

static uint64_t stack_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return STACK_DEFAULT;
    return limit.rlim_cur;
}

int elf_stack_map(struct mm *mm, bool executable, struct error *err)
{
    uint64_t size = stack_limit();
    size = size > STACK_MAX ? STACK_MAX : size < STACK_MIN ? STACK_MIN : align_up(size, MM_PAGE);
    int prot = PROT_READ | PROT_WRITE | (executable ? PROT_EXEC : 0);
    int64_t at = mm_mmap(
        mm, MM_TOP - size, size, prot,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK | MAP_FIXED_NOREPLACE, -1, 0);
    if (at < 0)
        return error_set(err, (int)-at, "no memory for a stack of %llu KiB: %s",
                         (unsigned long long)(size / KIB), strerror((int)-at));
    mm_set_stack(mm, MM_TOP - size, MM_TOP);
    return 0;
}

/* What strings and the pointers to them may take: a quarter of the stack, within limits. */
static uint64_t args_limit(void)
{
    uint64_t limit = stack_limit() / 4;
    return limit > ARGS_MAX ? ARGS_MAX : limit < ARGS_MIN ? ARGS_MIN : limit;
}

/* Adds a string and its pointer to *sum. False: it is too long for any program. */
static bool args_add(const char *s, uint64_t *sum)
{
    size_t len = strnlen(s, STRING_MAX);
    *sum += len + 1 + 8;
    return len < STRING_MAX;
}

static bool args_add_list(char *const *list, uint64_t *sum, uint64_t limit)
{
    bool ok = true;
    for (; *list && ok; list++)
        ok = args_add(*list, sum) && *sum <= limit;
    return ok;
}

static int args_check(const struct elf_args *args, struct error *err)
{
    uint64_t sum = 0, limit = args_limit();
    if (args_add(args->path, &sum) && args_add_list(args->argv, &sum, limit) &&
        args_add_list(args->envp, &sum, limit))
        return 0;
    return error_set(err, E2BIG, "%s: arguments and environment are longer than %llu KiB",
                     args->path, (unsigned long long)(limit / KIB));
}

/* ---- contents ---- */

/* Writing to the stack; nobody else runs in this memory yet. */
struct stack {
    uint64_t low; /* of the strings */
    uint64_t at;  /* of the next word of the table */
};

static uint64_t push_bytes(struct stack *s, const void *data, size_t size)
{
    s->low -= size;
    memcpy((void *)(uintptr_t)s->low, data, size);
    return s->low;
}

/* The strings of a list so that the first one is the lowest; returns their number. */
static uint64_t push_strings(struct stack *s, char *const *list)
{
    uint64_t n = 0;
    while (list[n])
        n++;
    for (uint64_t i = n; i-- > 0;)
        push_bytes(s, list[i], strlen(list[i]) + 1);
    return n;
}

static void put_word(struct stack *s, uint64_t v)
{
    le64_put((void *)(uintptr_t)s->at, v);
    s->at += 8;
}

/* Pointers to n strings that follow each other from `string` on; returns the end of them. */
static uint64_t put_pointers(struct stack *s, uint64_t n, uint64_t string)
{
    while (n--) {
        put_word(s, string);
        string += strlen((const char *)(uintptr_t)string) + 1;
    }
    put_word(s, 0);
    return string;
}

static uint64_t push_random(struct stack *s)
{
    uint8_t bytes[RANDOM_BYTES];
    if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != sizeof bytes)
        memcpy(bytes, (const void *)(uintptr_t)getauxval(AT_RANDOM), sizeof bytes);
    s->low = align_down(s->low, 16);
    return push_bytes(s, bytes, sizeof bytes);
}

int elf_stack_fill(struct mm *mm, const struct elf_args *args, const struct elf_aux *aux,
                   struct elf_start *start, struct error *err)
{
    static char empty[] = "", *nameless[] = {empty, NULL};
    int rc = args_check(args, err);
    if (rc)
        return rc;
    struct stack s = {.low = mm->stack_end - 8};
    uint64_t path = push_bytes(&s, args->path, strlen(args->path) + 1);
    uint64_t envc = push_strings(&s, args->envp);
    uint64_t argc = push_strings(&s, args->argv[0] ? args->argv : nameless);
    uint64_t strings = s.low, random = push_random(&s);
    const uint64_t auxv[][2] = {
        {AT_MINSIGSTKSZ, MIN_SIGNAL_STACK},
        {AT_HWCAP, aux->hwcap},
        {AT_PAGESZ, MM_PAGE},
        {AT_CLKTCK, (uint64_t)sysconf(_SC_CLK_TCK)},
        {AT_PHDR, aux->phdr},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, aux->phnum},
        {AT_BASE, aux->base},
        {AT_FLAGS, 0},
        {AT_ENTRY, aux->entry},
        {AT_UID, getuid()},
        {AT_EUID, geteuid()},
        {AT_GID, getgid()},
        {AT_EGID, getegid()},
        {AT_SECURE, getauxval(AT_SECURE)},
        {AT_RANDOM, random},
        {AT_EXECFN, path},
        {AT_NULL, 0},
    };
    uint64_t words = 1 + (argc + 1) + (envc + 1) + sizeof auxv / 8;
    start->sp = s.at = align_down(s.low - 8 * words, 16);
    put_word(&s, argc);
    uint64_t environment = put_pointers(&s, argc, strings);
    start->strings_end = put_pointers(&s, envc, environment);
    start->args = strings;
    start->environment = environment;
    start->auxv = s.at;
    start->auxv_size = sizeof auxv;
    memcpy((void *)(uintptr_t)s.at, auxv, sizeof auxv);
    return 0;
}
