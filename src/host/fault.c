#include "host/fault.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/fault_impl.h"

static const int fault_signals[] = {SIGSEGV, SIGBUS};

/* The one process-wide part: see fault.h for why it cannot be otherwise. */
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned fault_users;
static struct sigaction fault_former[ARRAY_SIZE(fault_signals)];

/* initial-exec: the first use in a signal handler must not allocate. */
static __thread struct fault_scope *fault_scopes __attribute__((tls_model("initial-exec")));

/* Lets the former disposition have the signal. */
static void fault_pass_on(int signal, siginfo_t *info, void *context)
{
    const struct sigaction *former = &fault_former[signal == SIGSEGV ? 0 : 1];
    sigset_t mask = former->sa_mask, before;
    if (!(former->sa_flags & SA_SIGINFO) &&
        (former->sa_handler == SIG_DFL || former->sa_handler == SIG_IGN)) {
        /* Ignoring a fault means to repeat it for ever; the kernel does not do so either. */
        if (former->sa_handler == SIG_IGN && info->si_code <= 0)
            return;
        /* A fault happens again on return; a signal that was sent has to be sent again. */
        struct sigaction plain = {.sa_handler = SIG_DFL};
        sigaction(signal, &plain, NULL);
        if (info->si_code <= 0)
            raise(signal);
        return;
    }
    if (!(former->sa_flags & SA_NODEFER))
        sigaddset(&mask, signal);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    if (former->sa_flags & SA_SIGINFO)
        former->sa_sigaction(signal, info, context);
    else
        former->sa_handler(signal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Where to go on; 0: the fault belongs to no scope of this thread. */
static uintptr_t fault_ask(struct fault *fault)
{
    struct fault_scope *scope = fault_scopes;
    while (scope && (fault->pc < scope->start || fault->pc >= scope->end))
        scope = scope->outer;
    return scope ? scope->fn(scope->ctx, fault) : 0;
}

static void fault_handle(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    struct fault fault;
    /* si_code <= 0: sent by somebody; where the thread is has nothing to do with it. */
    if (info->si_code > 0) {
        fault_describe(&fault, signal, info, context);
        /* Scopes first: they are asked often, by windows, and looking for a landing takes longer.
         */
        uintptr_t pc = fault_ask(&fault);
        if (!pc)
            pc = guarded_landing(fault.pc);
        if (pc) {
            fault_set_pc(&fault, pc);
            errno = saved;
            return;
        }
    }
    fault_pass_on(signal, info, context);
    errno = saved;
}

/* Puts back the former disposition of the first n signals, where ours is still in force. */
static void fault_uninstall(unsigned n)
{
    struct sigaction now;
    for (unsigned i = 0; i < n; i++) {
        if (sigaction(fault_signals[i], NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
            now.sa_sigaction == fault_handle)
            sigaction(fault_signals[i], &fault_former[i], NULL);
    }
}

static int fault_install(unsigned i)
{
    /* Synchronous signals stay deliverable: a fault in a callback shall end as any other. */
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    struct sigaction ours = {.sa_sigaction = fault_handle};
    struct sigaction now;
    /* SA_RESTART: a signal that somebody sent may be none of the interrupted call's business. */
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
    sigfillset(&ours.sa_mask);
    for (unsigned k = 0; k < ARRAY_SIZE(synchronous); k++)
        sigdelset(&ours.sa_mask, synchronous[k]);
    /* Known before ours can run; still ours when somebody put a handler over it that passes on. */
    if (sigaction(fault_signals[i], NULL, &now) < 0)
        return -errno;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == fault_handle)
        return 0;
    fault_former[i] = now;
    return sigaction(fault_signals[i], &ours, NULL) < 0 ? -errno : 0;
}

int fault_init(struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&fault_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(fault_signals) && fault_users == 0 && rc == 0; i++) {
        rc = fault_install(i);
        if (rc < 0)
            fault_uninstall(i);
    }
    if (rc == 0)
        fault_users++;
    pthread_mutex_unlock(&fault_lock);
    return rc < 0 ? error_set(err, -rc, "installing a handler of faults: %s", strerror(-rc)) : 0;
}

void fault_fini(void)
{
    pthread_mutex_lock(&fault_lock);
    assert(fault_users > 0);
    if (--fault_users == 0)
        fault_uninstall(ARRAY_SIZE(fault_signals));
    pthread_mutex_unlock(&fault_lock);
}

void fault_push(struct fault_scope *scope)
{
    scope->outer = fault_scopes;
    /* The scope is complete before a fault can find it. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    fault_scopes = scope;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void fault_pop(struct fault_scope *scope)
{
    assert(fault_scopes == scope);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    fault_scopes = scope->outer;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

struct fault_scope *fault_innermost(void)
{
    return fault_scopes;
}

void fault_set_innermost(struct fault_scope *scope)
{
    fault_scopes = scope;
}
