/*
 * Faults in generated code that resume elsewhere with their registers, and faults that must not:
 * outside of every scope, declined, sent by kill, in another thread, in the callback itself.
 */
#include "host/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jit.h"

enum { WORDS = 16 + 2 * 16 };

/* What all registers are before the access and after it: 16 general ones, 16 xmm. */
struct registers {
    uint64_t v[WORDS];
};

struct code {
    uint8_t *start, *access, *recovery, *end; /* in the rx view */
    jit_fn fn; /* f(struct registers *in, struct registers *out): loads from or stores to in->rax */
};

struct recover {
    const struct code *code;
    unsigned count;
    struct fault last;
    bool decline, change, crash;
};

static struct jit jit;
static struct code load, store;
static uint8_t *forbidden; /* a page without any permission */

#define PLACE(r) ((int32_t)(8 * (r)))

static void all_registers(struct asm_buf *b, enum asm_reg base, bool out)
{
    for (unsigned x = 0; x < 16; x++) {
        struct asm_mem m = asm_mem(base, PLACE(16 + 2 * x));
        if (out)
            asm_mx(b, ASM_MOVUPS, m, x);
        else
            asm_xm(b, ASM_MOVUPS, x, m);
    }
    for (unsigned r = 0; r < 16; r++) {
        if (r == base || r == RSP)
            continue;
        if (out)
            asm_mr(b, ASM_MOV, 8, asm_mem(base, PLACE(r)), r);
        else
            asm_rm(b, ASM_MOV, 8, r, asm_mem(base, PLACE(r)));
    }
}

/* Everything is loaded from rdi, the access goes through rax, everything is stored to rsi. */
static void build(struct code *code, bool is_store)
{
    static const uint8_t kept[] = {RBX, RBP, R12, R13, R14, R15};
    struct asm_buf *b = &jit.b;
    jit_begin(&jit);
    for (unsigned i = 0; i < sizeof kept; i++)
        asm_push(b, kept[i]);
    asm_push(b, RSI);
    all_registers(b, RDI, false);
    asm_rm(b, ASM_MOV, 8, RDI, asm_mem(RDI, PLACE(RDI)));
    uint32_t access = asm_pos(b);
    if (is_store)
        asm_mr(b, ASM_MOV, 8, asm_mem(RAX, 8), RCX);
    else
        asm_rm(b, ASM_MOV, 8, RCX, asm_mem(RAX, 8));
    asm_none(b, ASM_UD2);
    uint32_t recovery = asm_pos(b);
    asm_push(b, RDI);
    asm_rm(b, ASM_MOV, 8, RDI, asm_mem(RSP, 8));
    all_registers(b, RDI, true);
    asm_pop(b, RCX);
    asm_mr(b, ASM_MOV, 8, asm_mem(RDI, PLACE(RDI)), RCX);
    asm_pop(b, RSI);
    for (unsigned i = sizeof kept; i-- > 0;)
        asm_pop(b, kept[i]);
    asm_none(b, ASM_RET);
    uint32_t end = asm_pos(b);
    code->fn = jit_end(&jit);
    code->start = (uint8_t *)(uintptr_t)code->fn;
    code->access = code->start + access;
    code->recovery = code->start + recovery;
    code->end = code->start + end;
}

static int setup(void **state)
{
    (void)state;
    forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (forbidden == MAP_FAILED || codemem_init(&jit.memory, 1 << 16, NULL) != 0)
        return -1;
    build(&load, false);
    build(&store, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    codemem_fini(&jit.memory);
    return munmap(forbidden, 4096);
}

static uintptr_t recover(void *ctx, struct fault *fault)
{
    struct recover *r = ctx;
    r->count++;
    r->last = *fault;
    errno = EDOM;
    if (r->crash)
        *(volatile uint8_t *)forbidden = 1;
    if (r->change) {
        fault_set_reg(fault, R13, fault_reg(fault, R12) + 1);
        memset(fault_xmm(fault, 15), 0x5a, 16);
    }
    return r->decline ? 0 : (uintptr_t)r->code->recovery;
}

static struct fault_scope scope_of(struct recover *r)
{
    return (struct fault_scope){.start = (uintptr_t)r->code->start,
                                .end = (uintptr_t)r->code->end,
                                .fn = recover,
                                .ctx = r};
}

static void fill(struct registers *in, uint64_t seed, uint64_t address)
{
    for (unsigned i = 0; i < WORDS; i++)
        in->v[i] = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
    in->v[RAX] = address;
}

/* All but rsp; false on the first difference. */
static bool same(const struct registers *a, const struct registers *b)
{
    for (unsigned i = 0; i < WORDS; i++) {
        if (i != RSP && a->v[i] != b->v[i]) {
            fprintf(stderr, "register %u is %jx, was %jx\n", i, (uintmax_t)b->v[i],
                    (uintmax_t)a->v[i]);
            return false;
        }
    }
    return true;
}

static void run(const struct code *code, const struct registers *in, struct registers *out)
{
    code->fn((uint64_t)(uintptr_t)in, (uint64_t)(uintptr_t)out, 0);
}

static void test_resume(void **state)
{
    const struct code *codes[] = {&load, &store};
    struct registers in, out;
    (void)state;
    assert_int_equal(fault_init(NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct recover r = {.code = codes[i]};
        struct fault_scope scope = scope_of(&r);
        fill(&in, 1, (uint64_t)(uintptr_t)forbidden);
        memset(&out, 0, sizeof out);
        fault_push(&scope);
        errno = 0;
        run(codes[i], &in, &out);
        fault_pop(&scope);
        assert_int_equal(errno, 0);
        assert_true(same(&in, &out));
        assert_int_equal(r.count, 1);
        assert_int_equal(r.last.signal, SIGSEGV);
        assert_ptr_equal((void *)r.last.pc, codes[i]->access);
        assert_true(r.last.has_address);
        assert_ptr_equal((void *)r.last.address, forbidden + 8);
        assert_int_equal(r.last.write, i == 1);
        assert_false(r.last.fetch);
    }
    fault_fini();
}

/* A page whose file has ended is SIGBUS; an address that is not canonical has no address. */
static void test_kinds(void **state)
{
    struct registers in, out;
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    int fd = memfd_create("test", 0);
    (void)state;
    uint8_t *empty = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(empty, MAP_FAILED);
    assert_int_equal(fault_init(NULL), 0);
    fault_push(&scope);
    fill(&in, 2, (uint64_t)(uintptr_t)empty);
    run(&load, &in, &out);
    assert_int_equal(r.last.signal, SIGBUS);
    assert_ptr_equal((void *)r.last.address, empty + 8);
    fill(&in, 3, UINT64_C(1) << 60);
    run(&load, &in, &out);
    assert_true(same(&in, &out));
    assert_false(r.last.has_address);
    assert_int_equal(r.count, 2);
    fault_pop(&scope);
    fault_fini();
    munmap(empty, 4096);
    close(fd);
}

static void test_change(void **state)
{
    struct registers in, out;
    struct recover r = {.code = &load, .change = true};
    struct fault_scope scope = scope_of(&r);
    (void)state;
    assert_int_equal(fault_init(NULL), 0);
    fault_push(&scope);
    fill(&in, 4, (uint64_t)(uintptr_t)forbidden);
    run(&load, &in, &out);
    in.v[R13] = in.v[R12] + 1;
    in.v[46] = in.v[47] = UINT64_C(0x5a5a5a5a5a5a5a5a);
    assert_true(same(&in, &out));
    fault_pop(&scope);
    fault_fini();
}

/* The innermost scope that has the pc is asked, and only that one. */
static void test_nested(void **state)
{
    struct registers in, out;
    struct recover outer = {.code = &load}, inner = {.code = &load}, other = {.code = &store};
    struct fault_scope scopes[] = {scope_of(&outer), scope_of(&inner), scope_of(&other)};
    (void)state;
    assert_int_equal(fault_init(NULL), 0);
    fill(&in, 5, (uint64_t)(uintptr_t)forbidden);
    for (unsigned i = 0; i < 3; i++)
        fault_push(&scopes[i]);
    run(&load, &in, &out);
    fault_pop(&scopes[2]);
    fault_pop(&scopes[1]);
    run(&load, &in, &out);
    fault_pop(&scopes[0]);
    assert_int_equal(outer.count, 1);
    assert_int_equal(inner.count, 1);
    assert_int_equal(other.count, 0);

    /* The other scope on the other side. */
    outer.code = &store;
    inner.code = &load;
    scopes[0] = scope_of(&outer);
    scopes[1] = scope_of(&inner);
    fault_push(&scopes[0]);
    fault_push(&scopes[1]);
    run(&store, &in, &out);
    fault_pop(&scopes[1]);
    fault_pop(&scopes[0]);
    assert_int_equal(outer.count, 2);
    assert_int_equal(inner.count, 1);
    fault_fini();
}

/* The handler uses the alternate stack: generated code may use rsp for itself. */
static uintptr_t recover_rsp(void *ctx, struct fault *fault)
{
    uint64_t *saved = ctx;
    assert_int_equal(fault_reg(fault, RSP), 0x1230);
    fault_set_reg(fault, RSP, fault_reg(fault, R11));
    *saved = (uint64_t)(uintptr_t)&fault;
    return (uintptr_t)fault_reg(fault, R10);
}

static void test_alternate_stack(void **state)
{
    size_t size = 64 << 10;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size}, before;
    uint64_t where = 0;
    struct asm_label recovery = {0};
    struct asm_buf *b = &jit.b;
    (void)state;
    jit_begin(&jit);
    asm_rr(b, ASM_MOV, 8, R11, RSP);
    asm_lea(b, 8, R10, asm_mem_label(&recovery));
    asm_mov_imm(b, RSP, 0x1230);
    asm_rm(b, ASM_MOV, 8, RAX, asm_mem(RDI, 0));
    asm_bind(b, &recovery);
    asm_ri(b, ASM_MOV, 4, RAX, 99);
    asm_none(b, ASM_RET);
    uint32_t length = asm_pos(b);
    jit_fn fn = jit_end(&jit);
    struct fault_scope scope = {
        .start = (uintptr_t)fn, .end = (uintptr_t)fn + length, .fn = recover_rsp, .ctx = &where};
    assert_int_equal(sigaltstack(&stack, &before), 0);
    assert_int_equal(fault_init(NULL), 0);
    fault_push(&scope);
    assert_int_equal(fn((uint64_t)(uintptr_t)forbidden, 0, 0), 99);
    fault_pop(&scope);
    fault_fini();
    assert_true(where - (uint64_t)(uintptr_t)stack.ss_sp < size);
    assert_int_equal(sigaltstack(&before, NULL), 0);
    free(stack.ss_sp);
}

enum { THREADS = 4, FAULTS = 20000 };

static atomic_uint threads_ready;

static void *faulting_thread(void *arg)
{
    uintptr_t id = (uintptr_t)arg, wrong = 0;
    struct recover r = {.code = id & 1 ? &store : &load};
    struct fault_scope scope = scope_of(&r);
    struct registers in, out;
    fault_push(&scope);
    atomic_fetch_add(&threads_ready, 1);
    while (atomic_load(&threads_ready) < THREADS)
        ;
    for (unsigned i = 0; i < FAULTS; i++) {
        fill(&in, id * FAULTS + i, (uint64_t)(uintptr_t)forbidden + id);
        run(r.code, &in, &out);
        wrong += !same(&in, &out) || r.last.address != (uintptr_t)forbidden + id + 8;
    }
    fault_pop(&scope);
    return (void *)(wrong + (r.count != FAULTS));
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    void *wrong;
    (void)state;
    assert_int_equal(fault_init(NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, faulting_thread, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    fault_fini();
}

/* --- What has to die, in a child ----------------------------------------------------------------
 */

static void child_outside(void)
{
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    fault_push(&scope);
    *(volatile uint8_t *)forbidden = 1;
}

static void child_declined(void)
{
    struct recover r = {.code = &load, .decline = true};
    struct fault_scope scope = scope_of(&r);
    struct registers in, out;
    fault_push(&scope);
    fill(&in, 6, (uint64_t)(uintptr_t)forbidden);
    run(&load, &in, &out);
}

static void child_callback(void)
{
    struct recover r = {.code = &load, .crash = true};
    struct fault_scope scope = scope_of(&r);
    struct registers in, out;
    fault_push(&scope);
    fill(&in, 7, (uint64_t)(uintptr_t)forbidden);
    run(&load, &in, &out);
}

static void child_popped(void)
{
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    struct registers in, out;
    fault_push(&scope);
    fault_pop(&scope);
    fill(&in, 8, (uint64_t)(uintptr_t)forbidden);
    run(&load, &in, &out);
}

static void child_sent(void)
{
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    fault_push(&scope);
    kill(getpid(), SIGSEGV);
}

/* The same while generated code executes: it is kill(rdi, rsi). */
static void child_sent_inside(void)
{
    static const uint8_t syscall_bytes[] = {0x0f, 0x05};
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    jit_begin(&jit);
    asm_ri(&jit.b, ASM_MOV, 4, RAX, SYS_kill);
    asm_data(&jit.b, syscall_bytes, sizeof syscall_bytes);
    asm_none(&jit.b, ASM_RET);
    scope.end = scope.start + JIT_SIZE * 3;
    fault_push(&scope);
    jit_end (&jit)((uint64_t)getpid(), SIGSEGV, 0);
}

/* The scope of one thread is nothing to another. */
static void *thread_without_scope(void *arg)
{
    struct registers in, out;
    (void)arg;
    fill(&in, 9, (uint64_t)(uintptr_t)forbidden);
    run(&load, &in, &out);
    return NULL;
}

static void child_other_thread(void)
{
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    pthread_t thread;
    fault_push(&scope);
    if (pthread_create(&thread, NULL, thread_without_scope, NULL) == 0)
        pthread_join(thread, NULL);
}

static void child_after_fini(void)
{
    struct recover r = {.code = &load};
    struct fault_scope scope = scope_of(&r);
    struct registers in, out;
    fault_push(&scope);
    fault_fini();
    fill(&in, 10, (uint64_t)(uintptr_t)forbidden);
    run(&load, &in, &out);
}

/* The status of a child that runs fn with the handlers installed. */
static int child_status(void (*fn)(void), void (*former)(int))
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, former);
        if (fault_init(NULL) == 0)
            fn();
        _exit(3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void (*const deadly[])(void) = {child_outside,      child_declined,  child_callback,
                                       child_popped,       child_sent,      child_sent_inside,
                                       child_other_thread, child_after_fini};

static void test_death(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        int status = child_status(deadly[i], SIG_DFL);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
    }
}

static void former_handler(int signal)
{
    _exit(signal == SIGSEGV ? 42 : 43);
}

static void test_chain(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        int status = child_status(deadly[i], former_handler);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
    }
    /* Ignored: a fault kills all the same, a signal that was sent is ignored. */
    int status = child_status(child_outside, SIG_IGN);
    assert_true(WIFSIGNALED(status));
    status = child_status(child_sent, SIG_IGN);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
}

static void later_handler(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    _exit(44);
}

/* Calls are counted; the last one restores, unless another handler has been put over ours. */
static void test_counted(void **state)
{
    struct sigaction before, now;
    (void)state;
    sigaction(SIGSEGV, NULL, &before);
    assert_int_equal(fault_init(NULL), 0);
    assert_int_equal(fault_init(NULL), 0);
    fault_fini();
    sigaction(SIGSEGV, NULL, &now);
    assert_ptr_not_equal(now.sa_sigaction, before.sa_sigaction);
    fault_fini();
    sigaction(SIGSEGV, NULL, &now);
    assert_ptr_equal(now.sa_sigaction, before.sa_sigaction);

    struct sigaction later = {.sa_sigaction = later_handler, .sa_flags = SA_SIGINFO};
    assert_int_equal(fault_init(NULL), 0);
    sigaction(SIGSEGV, &later, NULL);
    fault_fini();
    sigaction(SIGSEGV, NULL, &now);
    assert_ptr_equal(now.sa_sigaction, later_handler);
    sigaction(SIGSEGV, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),          cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_change),          cmocka_unit_test(test_nested),
        cmocka_unit_test(test_alternate_stack), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_death),           cmocka_unit_test(test_chain),
        cmocka_unit_test(test_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
