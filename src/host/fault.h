/*
 * Host faults in generated code: SIGSEGV and SIGBUS become a resumption at another host address.
 *
 * A thread that executes generated code pushes a scope first: a range of host addresses and a
 * callback. When an instruction in that range faults, the callback of the innermost scope that
 * contains the pc runs in the signal handler, on the faulting thread, and returns the host address
 * to go on at, with the registers as they were or as it changed them. Every other fault, and one
 * that the callback declines, goes to whatever handler was there before; with none, the process
 * dies as if this handler did not exist. The functions of host/guarded.h need no scope: they are
 * known by where they are.
 *
 * Process-wide state: the kernel keeps one disposition per signal for a whole process, and a memory
 * access that the host's MMU refuses can be reported in no other way (userfaultfd serves missing
 * pages, not protection or addresses outside every mapping). So one handler and the disposition it
 * replaced are process-wide, between the first fault_init and the last fault_fini; they are counted
 * and guarded by a mutex, and hold nothing of any machine. Scopes belong to the thread that pushed
 * them and are reached through one thread-local pointer.
 *
 * Rules for a callback: it runs with all other signals blocked, and may use only what is safe in a
 * signal handler (mmap and futex are; locks that the interrupted code may hold, and allocation, are
 * not). errno is preserved. A fault in the callback itself is not its own scope's unless the pc is
 * in its range; it goes the ordinary way.
 *
 * The handler runs on the thread's alternate signal stack when it has one. A thread whose generated
 * code uses rsp for something other than its stack must have one, or scopes do not work.
 * SIGSEGV and SIGBUS must not be blocked in a thread with scopes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;

/* A fault while its callback runs. */
struct fault {
    int signal;        /* SIGSEGV or SIGBUS */
    uintptr_t pc;      /* host address of the faulting instruction */
    uintptr_t address; /* what it tried to reach; only with has_address */
    bool has_address;  /* false: not a canonical address, or misaligned where that is checked */
    bool write, fetch; /* what it tried to do; neither: read */
    void *context;     /* for the functions below */
};

/* Returns the host address to go on at; 0: not ours, pass it on. */
typedef uintptr_t (*fault_fn)(void *ctx, struct fault *fault);

/* Owned by its thread; constant while it is pushed. */
struct fault_scope {
    uintptr_t start, end; /* host pcs start <= pc < end */
    fault_fn fn;
    void *ctx;
    struct fault_scope *outer; /* set by fault_push */
};

/*
 * Installs the handlers; calls are counted. Thread-safe. Whoever installs a handler of SIGSEGV or
 * SIGBUS while this is in force must pass on to the one it replaced. -errno of sigaction.
 */
int fault_init(struct error *err);
/* The last call puts the former dispositions back, where nobody else has replaced ours since. */
void fault_fini(void);

/* The calling thread's scopes are a stack. A few nanoseconds each. */
void fault_push(struct fault_scope *scope);
/* scope: the innermost one. */
void fault_pop(struct fault_scope *scope);
/*
 * The innermost scope of the calling thread, NULL: none; and back to it, whatever was pushed since:
 * by a child of vfork, which has the thread's variables and may end anywhere.
 */
struct fault_scope *fault_innermost(void);
void fault_set_innermost(struct fault_scope *scope);

/*
 * Registers of the faulting instruction, by the host's numbers (enum asm_reg, enum asm_xmm of
 * x86_64/asm.h); what is written is there after resumption.
 */
uint64_t fault_reg(const struct fault *fault, unsigned reg);
void fault_set_reg(struct fault *fault, unsigned reg, uint64_t v);
/* The 16 bytes of an xmm register. */
void *fault_xmm(struct fault *fault, unsigned reg);
