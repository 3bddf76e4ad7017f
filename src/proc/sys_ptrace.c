/* ptrace; what it makes others do is waited for in sys_wait.c. */
#include "base/bits.h"
#include "proc/guest_abi.h"
#include "proc/signal_host.h"
#include "proc/syscall.h"
#include "proc/tracer.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_GET_RSEQ 0x420f /* PTRACE_GET_RSEQ_CONFIGURATION */

#define OPTIONS                                                                                  \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |    \
     PTRACE_O_TRACEEXEC | PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT | PTRACE_O_TRACESECCOMP | \
     PTRACE_O_EXITKILL)

#define WORD 8u

/* ---- memory ---- */

/* What is written over code counts from when the tracee goes on. */
static void trace_wrote(const struct tracee *e, uint64_t start, uint64_t end)
{
    uint64_t code, old_start, old_end;
    struct tracee at = *e;
    if (!TRACEE_LOAD(e, code, &code))
        return;
    at.record = code; /* a struct trace_code, reached the same way */
    if (!tracee_load(&at, offsetof(struct trace_code, start), &old_start) ||
        !tracee_load(&at, offsetof(struct trace_code, end), &old_end))
        return;
    if (old_end) {
        start = old_start < start ? old_start : start;
        end = old_end > end ? old_end : end;
    }
    tracee_store(&at, offsetof(struct trace_code, start), start);
    tracee_store(&at, offsetof(struct trace_code, end), end);
}

static int64_t trace_peek(const struct tracee *e, uint64_t address, uint64_t data)
{
    uint64_t word;
    if (address > MM_HIGH - WORD)
        return -EIO;
    int64_t rc = tracer_host(PTRACE_PEEKDATA, e->tid, address, guest_address(&word));
    return rc ? rc : guest_write(data, &word, sizeof word) ? 0 : -EFAULT;
}

static int64_t trace_poke(const struct tracee *e, uint64_t address, uint64_t data)
{
    if (address > MM_HIGH - WORD)
        return -EIO;
    int64_t rc = tracer_host(PTRACE_POKEDATA, e->tid, address, data);
    if (!rc)
        trace_wrote(e, address, address + WORD);
    return rc;
}

/* ---- registers ---- */

struct regset {
    unsigned type;
    size_t offset, size; /* in the record */
};

static const struct regset regsets[] = {
    {NT_PRSTATUS, offsetof(struct trace_record, reg), 32 * WORD},
    {NT_PRFPREG, offsetof(struct trace_record, f), 33 * WORD},
};

static const struct regset *regset_find(uint64_t type)
{
    for (unsigned i = 0; i < ARRAY_SIZE(regsets); i++)
        if (regsets[i].type == type)
            return &regsets[i];
    return NULL;
}

/* Words of the record to or from memory of the program. */
static int64_t trace_words(const struct tracee *e, size_t offset, uint64_t guest, size_t size,
                           bool store)
{
    uint64_t word;
    for (size_t at = 0; at < size; at += WORD) {
        size_t n = size - at < WORD ? size - at : WORD;
        if ((!store || n < WORD) && !tracee_load(e, offset + at, &word))
            return -ESRCH;
        if (!(store ? guest_read(&word, guest + at, n) : guest_write(guest + at, &word, n)))
            return -EFAULT;
        if (store && !tracee_store(e, offset + at, word))
            return -ESRCH;
    }
    return 0;
}

static int64_t trace_regset(const struct tracee *e, uint64_t type, uint64_t data, bool set)
{
    const struct regset *s = regset_find(type);
    struct iovec v;
    if (!tracee_at_home(e))
        return -ESRCH;
    if (!guest_read(&v, data, sizeof v))
        return -EFAULT;
    if (!s || v.iov_len % WORD)
        return -EINVAL;
    v.iov_len = v.iov_len < s->size ? v.iov_len : s->size;
    int64_t rc = trace_words(e, s->offset, guest_address(v.iov_base), v.iov_len, set);
    if (!rc && !guest_write(data, &v, sizeof v))
        rc = -EFAULT;
    return rc;
}

/* ---- what there is to know about a stop ---- */

static int64_t trace_siginfo(const struct tracee *e, uint64_t data, bool set)
{
    enum trace_kind kind;
    siginfo_t info;
    if (tracee_raised(e, &kind)) {
        if (kind == TRACE_GROUP)
            return -EINVAL;
        return trace_words(e, offsetof(struct trace_record, info), data, sizeof info, set);
    }
    if (set && !guest_read(&info, data, sizeof info))
        return -EFAULT;
    int64_t rc =
        tracer_host(set ? PTRACE_SETSIGINFO : PTRACE_GETSIGINFO, e->tid, 0, guest_address(&info));
    return !rc && !set && !guest_write(data, &info, sizeof info) ? -EFAULT : rc;
}

static int64_t trace_message(const struct tracee *e, uint64_t data)
{
    enum trace_kind kind;
    uint64_t message;
    int64_t rc = 0;
    if (tracee_raised(e, &kind))
        rc = TRACEE_LOAD(e, message, &message) ? 0 : -ESRCH;
    else
        rc = tracer_host(PTRACE_GETEVENTMSG, e->tid, 0, guest_address(&message));
    return !rc && !guest_write(data, &message, sizeof message) ? -EFAULT : rc;
}

static bool trace_entry_info(const struct tracee *e, uint64_t op, struct guest_syscall_info *info,
                             size_t *size)
{
    uint64_t data = 0;
    bool there = TRACEE_LOAD(e, number, &info->entry.number);
    for (unsigned i = 0; i < SYSCALL_ARGS; i++)
        there = there && TRACEE_LOAD(e, args[i], &info->entry.args[i]);
    *size = offsetof(struct guest_syscall_info, entry.data);
    if (op != PTRACE_SYSCALL_INFO_SECCOMP)
        return there;
    *size = offsetof(struct guest_syscall_info, entry.end);
    there = there && TRACEE_LOAD(e, message, &data);
    info->entry.data = (uint32_t)data;
    return there;
}

/* The kernel's structure up to what the stop has; its size. False: not stopped. */
static bool trace_call_info(const struct tracee *e, struct guest_syscall_info *info, size_t *size)
{
    enum trace_kind kind;
    uint64_t op = PTRACE_SYSCALL_INFO_NONE;
    bool there = TRACEE_LOAD(e, reg[0], &info->pc) && TRACEE_LOAD(e, reg[REG_SP], &info->sp);
    if (tracee_raised(e, &kind) && (kind == TRACE_SYSCALL || kind == TRACE_EVENT))
        there = there && TRACEE_LOAD(e, op, &op);
    info->op = (uint8_t)op;
    info->arch = GUEST_AUDIT_ARCH;
    *size = offsetof(struct guest_syscall_info, entry);
    if (op == PTRACE_SYSCALL_INFO_ENTRY || op == PTRACE_SYSCALL_INFO_SECCOMP)
        return there && trace_entry_info(e, op, info, size);
    if (op == PTRACE_SYSCALL_INFO_EXIT) {
        *size = offsetof(struct guest_syscall_info, exit.end);
        there = there && TRACEE_LOAD(e, result, &info->exit.result);
        info->exit.is_error = info->exit.result >= (uint64_t)-4095;
    }
    return there;
}

static int64_t trace_syscall_info(const struct tracee *e, uint64_t room, uint64_t data)
{
    struct guest_syscall_info info = {0};
    size_t size;
    if (!tracee_at_home(e) || !trace_call_info(e, &info, &size))
        return -ESRCH;
    size_t n = room < size ? room : size;
    return guest_write(data, &info, n) ? (int64_t)size : -EFAULT;
}

static int64_t trace_mask(const struct tracee *e, uint64_t size, uint64_t data, bool set)
{
    if (size != SET_SIZE)
        return -EINVAL;
    if (!tracee_at_home(e))
        return -ESRCH;
    return trace_words(e, offsetof(struct trace_record, mask), data, SET_SIZE, set);
}

/* The program has no restartable sequences. */
static int64_t trace_rseq(uint64_t room, uint64_t data)
{
    const uint64_t none[3] = {0};
    size_t n = room < sizeof none ? room : sizeof none;
    return guest_write(data, none, n) ? (int64_t)sizeof none : -EFAULT;
}

/* ---- going on ---- */

/* Another signal than the one that came is the tracer's. */
static bool trace_answer(const struct tracee *e, uint64_t sig)
{
    uint64_t status, words[sizeof(siginfo_t) / WORD];
    siginfo_t info = {.si_signo = (int)sig, .si_code = SI_USER};
    if (!TRACEE_LOAD(e, status, &status) || !TRACEE_STORE(e, signal, sig))
        return false;
    if (!sig || sig == status)
        return true;
    info.si_pid = getpid();
    info.si_uid = getuid();
    memcpy(words, &info, sizeof words);
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        TRACEE_STORE(e, info[i], words[i]);
    return true;
}

/* Is it killed, wherever it was? */
static bool trace_ends(const struct tracee *e)
{
    siginfo_t info;
    return !tracer_host(PTRACE_GETSIGINFO, e->tid, 0, guest_address(&info)) &&
           info.si_code == (SIGTRAP | PTRACE_EVENT_EXIT << 8);
}

/* -ESRCH: it is not in a stop of the program's. */
static int64_t trace_prepare(struct thread *t, struct tracee *e, uint64_t mode, uint64_t sig)
{
    enum trace_kind kind;
    if (sig > SIGNAL_COUNT)
        return -EIO;
    if (!tracee_at_home(e))
        return e->native || trace_ends(e) ? 0 : -ESRCH;
    if (tracee_raised(e, &kind) && (kind == TRACE_SIGNAL || kind == TRACE_SYSCALL) &&
        !trace_answer(e, sig))
        return -ESRCH;
    if (atomic_load(&t->process->tracer.writes))
        trace_wrote(e, 0, UINT64_MAX);
    e->mode = mode;
    TRACEE_STORE(e, mode, mode);
    return 0;
}

static int64_t trace_go_on(struct thread *t, struct tracee *e, uint64_t request, uint64_t sig)
{
    int64_t rc = trace_prepare(t, e, request, sig);
    if (rc)
        return rc;
    e->kept = 0; /* not to be waited for any more */
    return tracer_host(PTRACE_CONT, e->tid, 0, 0);
}

static int64_t trace_detach(struct thread *t, struct tracee *e, uint64_t sig)
{
    int64_t rc = trace_prepare(t, e, PTRACE_CONT, sig);
    if (rc)
        return rc;
    TRACEE_STORE(e, traced, 0);
    rc = tracer_host(PTRACE_DETACH, e->tid, 0, 0);
    if (!rc)
        tracer_drop(&t->process->tracer, e->tid);
    return rc;
}

static int64_t trace_interrupt(const struct tracee *e)
{
    if (!e->seized)
        return -EIO;
    if (tracee_at_home(e))
        return tracer_host(PTRACE_INTERRUPT, e->tid, 0, 0);
    tracee_call(e, TRACE_CALL_HOME, 0);
    return 0;
}

static int64_t trace_listen(const struct tracee *e)
{
    return e->seized ? tracer_host(PTRACE_LISTEN, e->tid, 0, 0) : -EIO;
}

static int64_t trace_options(struct tracee *e, uint64_t options)
{
    if (options & ~(uint64_t)OPTIONS)
        return -EINVAL;
    int64_t rc = tracer_host(PTRACE_SETOPTIONS, e->tid, 0, tracer_host_options(options));
    if (rc)
        return rc;
    e->options = options;
    TRACEE_STORE(e, options, options);
    return 0;
}

/* ---- requests ---- */

static int64_t trace_request(struct thread *t, struct tracee *e, const uint64_t a[SYSCALL_ARGS])
{
    uint64_t address = a[2], data = a[3];
    switch ((unsigned)a[0]) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
        return trace_peek(e, address, data);
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
        return trace_poke(e, address, data);
    case PTRACE_GETREGSET:
    case PTRACE_SETREGSET:
        return trace_regset(e, address, data, a[0] == PTRACE_SETREGSET);
    case PTRACE_GETSIGINFO:
    case PTRACE_SETSIGINFO:
        return trace_siginfo(e, data, a[0] == PTRACE_SETSIGINFO);
    case PTRACE_GETSIGMASK:
    case PTRACE_SETSIGMASK:
        return trace_mask(e, address, data, a[0] == PTRACE_SETSIGMASK);
    case PTRACE_GETEVENTMSG:
        return trace_message(e, data);
    case PTRACE_GET_SYSCALL_INFO:
        return trace_syscall_info(e, address, data);
    case REQUEST_GET_RSEQ:
        return trace_rseq(address, data);
    case PTRACE_SETOPTIONS:
        return trace_options(e, data);
    case PTRACE_CONT:
    case PTRACE_SYSCALL:
    case PTRACE_SINGLESTEP:
        return trace_go_on(t, e, (unsigned)a[0], data);
    case PTRACE_DETACH:
        return trace_detach(t, e, data);
    case PTRACE_INTERRUPT:
        return trace_interrupt(e);
    case PTRACE_LISTEN:
        return trace_listen(e);
    case PTRACE_KILL:
    case PTRACE_PEEKSIGINFO:
        return tracer_host((int)a[0], e->tid, address, data);
    default:
        return -EIO;
    }
}

static int64_t trace_attach(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    bool seize = (unsigned)a[0] == PTRACE_SEIZE;
    if (seize && (a[2] || (a[3] & ~(uint64_t)OPTIONS)))
        return -EIO;
    return tracer_attach(&t->process->tracer, (pid_t)a[1], seize, seize ? a[3] : 0,
                         &t->signals.pending);
}

static int64_t trace_do(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct tracer *r = &t->process->tracer;
    unsigned request = (unsigned)a[0];
    if (request == PTRACE_ATTACH || request == PTRACE_SEIZE)
        return trace_attach(t, a);
    struct tracee *e = tracee_find(r, (pid_t)a[1]);
    return e ? trace_request(t, e, a) : -ESRCH;
}

int64_t sys_ptrace(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct tracer *r = &t->process->tracer;
    if ((unsigned)a[0] == PTRACE_TRACEME)
        return trace_me(t);
    pthread_mutex_lock(&r->lock);
    int64_t rc = trace_do(t, a);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* Without a look at what is written where: who does this and traces is a debugger. */
int64_t sys_process_vm_writev(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    int64_t rc = syscall_host(t, SYS_process_vm_writev, a);
    if (rc > 0)
        atomic_store(&t->process->tracer.writes, true);
    return rc;
}
