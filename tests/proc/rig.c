#include "rig.h"

#include "host/fault.h"
#include "isa/riscv64/ops.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct rig_log rig_log;
bool rig_interrupt;

/* ---- in place of the other files of the layer ---- */

static void rig_note(const char *name, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    rig_log.name = name;
    memcpy(rig_log.a, (uint64_t[6]){a, b, c, d}, sizeof rig_log.a);
}

int64_t thread_host_call(struct thread *t, long number, uint64_t a, uint64_t b, uint64_t c,
                         uint64_t d, uint64_t e, uint64_t f)
{
    (void)t;
    if (rig_interrupt) {
        rig_interrupt = false;
        return -THREAD_RESTART;
    }
    long rc = syscall(number, a, b, c, d, e, f);
    return rc < 0 && rc >= -4095 ? -errno : rc;
}

int64_t thread_clone(struct thread *t, const struct thread_clone *c)
{
    (void)t;
    rig_note("clone", 0, 0, 0, 0);
    rig_log.clone = *c;
    return 4711;
}

void thread_exit(struct thread *t, int status)
{
    (void)t;
    _exit(status & 0xff);
}

void process_exit(struct process *p, int status)
{
    (void)p;
    _exit(status & 0xff);
}

int64_t process_exec(struct thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp,
                     int flags)
{
    (void)t;
    (void)flags;
    rig_note("exec", (uint64_t)dirfd, path, argv, envp);
    return -ENOENT;
}

void process_code_changed(struct process *p, uint64_t start, uint64_t end)
{
    (void)p;
    rig_note("changed", start, end, 0, 0);
    rig_log.changed++;
}

int64_t mm_mmap(struct mm *mm, uint64_t addr, uint64_t len, int prot, int flags, int fd,
                uint64_t offset)
{
    (void)mm;
    (void)fd;
    (void)offset;
    rig_note("mmap", addr, len, (uint64_t)prot, (uint64_t)flags);
    return 0x7000;
}

int64_t mm_munmap(struct mm *mm, uint64_t addr, uint64_t len)
{
    (void)mm;
    rig_note("munmap", addr, len, 0, 0);
    return 0;
}

int64_t mm_mprotect(struct mm *mm, uint64_t addr, uint64_t len, int prot)
{
    (void)mm;
    rig_note("mprotect", addr, len, (uint64_t)prot, 0);
    return 0;
}

int64_t mm_mremap(struct mm *mm, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                  uint64_t new_addr)
{
    (void)mm;
    (void)new_addr;
    rig_note("mremap", addr, old_len, new_len, (uint64_t)flags);
    return 0x7000;
}

int64_t mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice)
{
    (void)mm;
    rig_note("madvise", addr, len, (uint64_t)advice, 0);
    return 0;
}

int64_t mm_brk(struct mm *mm, uint64_t addr)
{
    (void)mm;
    rig_note("brk", addr, 0, 0, 0);
    return (int64_t)addr;
}

int64_t mm_shmat(struct mm *mm, int id, uint64_t addr, int flags)
{
    (void)mm;
    rig_note("shmat", (uint64_t)id, addr, (uint64_t)flags, 0);
    return 0x7000;
}

int64_t mm_shmdt(struct mm *mm, uint64_t addr)
{
    (void)mm;
    rig_note("shmdt", addr, 0, 0, 0);
    return 0;
}

void mm_set_limits(struct mm *mm, uint64_t as, uint64_t data)
{
    (void)mm;
    rig_note("limits", as, data, 0, 0);
}

void mm_print_maps(struct mm *mm, FILE *out)
{
    (void)mm;
    fputs("00010000-00012000 r-xp 00000000 08:01 42 /program\n", out);
}

int64_t trace_me(struct thread *t)
{
    (void)t;
    rig_note("trace me", 0, 0, 0, 0);
    return 0;
}

void trace_exit(struct thread *t, int status)
{
    (void)t;
    (void)status;
}

bool trace_enter(struct thread *t, uint64_t *number, uint64_t a[6])
{
    (void)t;
    (void)number;
    (void)a;
    return true;
}

bool trace_reload(const struct thread *t, uint64_t *number, uint64_t a[6])
{
    (void)t;
    (void)number;
    (void)a;
    return true;
}

bool trace_seccomp(struct thread *t, uint64_t number, const uint64_t a[6], uint32_t data)
{
    (void)t;
    (void)number;
    (void)a;
    (void)data;
    return false;
}

bool trace_repeats(const struct thread *t)
{
    (void)t;
    return false;
}

void trace_leave(struct thread *t, int64_t result, uint64_t first_arg)
{
    (void)first_arg;
    t->hart->x[REG_A0] = (uint64_t)result;
}

bool signals_block_all(struct thread *t)
{
    return !t->signals.pending;
}

int64_t signal_sigreturn(struct thread *t)
{
    t->hart->x[REG_A0] = 12345;
    return SYSCALL_NO_RESULT;
}

int64_t signal_rt_sigpending(struct thread *t, uint64_t set, uint64_t size)
{
    (void)t;
    rig_note("sigpending", set, size, 0, 0);
    return 0;
}

int64_t signal_rt_sigaction(struct thread *t, int sig, uint64_t act, uint64_t old, uint64_t size)
{
    (void)t;
    (void)size;
    rig_note("sigaction", (uint64_t)sig, act, old, 0);
    return 0;
}

int64_t signal_rt_sigprocmask(struct thread *t, int how, uint64_t set, uint64_t old, uint64_t size)
{
    (void)t;
    (void)size;
    rig_note("sigprocmask", (uint64_t)how, set, old, 0);
    return 0;
}

int64_t signal_rt_sigsuspend(struct thread *t, uint64_t set, uint64_t size)
{
    (void)t;
    rig_note("sigsuspend", set, size, 0, 0);
    return -EINTR;
}

int64_t signal_sigaltstack(struct thread *t, uint64_t stack, uint64_t old)
{
    (void)t;
    rig_note("sigaltstack", stack, old, 0, 0);
    return 0;
}

bool signal_mask_read(struct signal_mask *m, uint64_t set)
{
    rig_note("mask", set, 0, 0, 0);
    bool there = guest_read(&m->guest, set, sizeof m->guest);
    m->host = m->guest;
    return there;
}

int64_t signal_masked_call(struct thread *t, const struct signal_mask *m, long number,
                           const uint64_t a[6])
{
    (void)m;
    return thread_host_call(t, number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- the rig ---- */

static char *rig_argv[] = {(char[]){"program"}, (char[]){"argument"}, NULL};
static char rig_exe[] = "/bin/sh";
static struct signal_actions rig_actions = {.lock = PTHREAD_MUTEX_INITIALIZER};

void rig_init(struct rig *r)
{
    memset(r, 0, sizeof *r);
    r->config.argv = rig_argv;
    r->process.argv = rig_argv;
    r->process.config = &r->config;
    r->process.exe = rig_exe;
    r->process.exe_fd = r->process.self_fd = -1;
    pthread_mutex_init(&r->process.lock, NULL);
    r->process.threads = &r->thread;
    r->thread.process = &r->process;
    r->thread.tid = getpid();
    r->thread.signals.actions = &rig_actions;
    r->thread.hart = calloc(1, sizeof *r->thread.hart);
    assert_non_null(r->thread.hart);
    r->thread.hart->exts = RV_EXTS_DEFAULT;
}

void rig_fini(struct rig *r)
{
    free(r->thread.hart);
    pthread_mutex_destroy(&r->process.lock);
}

void rig_enter(void)
{
    assert_int_equal(fault_init(NULL), 0);
}

void rig_leave(void)
{
    fault_fini();
}

int64_t rig_call_array(struct rig *r, uint64_t number, const uint64_t a[6])
{
    struct rv_hart *h = r->thread.hart;
    memset(&rig_log.a, 0, sizeof rig_log.a);
    rig_log.name = "";
    for (unsigned i = 0; i < 6; i++)
        h->x[REG_A0 + i] = a[i];
    h->x[REG_A7] = number;
    h->pc = 0x10004;
    rig_enter();
    syscall_serve(&r->thread);
    rig_leave();
    return (int64_t)h->x[REG_A0];
}
