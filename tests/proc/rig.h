/*
 * A guest thread without an engine: registers, memory that is this test's own, and what lies beside
 * the system calls (memory, signals, threads) replaced by functions that note that they were
 * called.
 */
#pragma once

#include "proc/syscall.h"

struct rig {
    struct proc_config config;
    struct process process;
    struct thread thread;
};

/* What the functions in place of others were last called with. */
struct rig_log {
    const char *name;
    uint64_t a[6];
    struct thread_clone clone;
    unsigned changed; /* calls of process_code_changed */
};
extern struct rig_log rig_log;
/* The next host call is interrupted before it does anything. */
extern bool rig_interrupt;

void rig_init(struct rig *r);
void rig_fini(struct rig *r);

/*
 * Around what may find memory missing: not for a whole test, because cmocka takes SIGSEGV when each
 * one begins.
 */
void rig_enter(void);
void rig_leave(void);

/* An ecall: what is in a0 afterwards. Missing arguments are 0. */
int64_t rig_call_array(struct rig *r, uint64_t number, const uint64_t a[6]);
#define rig_call(r, number, ...) rig_call_array(r, number, (const uint64_t[6]){__VA_ARGS__})
#define P(pointer) guest_address(pointer)

/* Numbers of riscv64's calls: GUEST_openat and so on. */
enum {
#define PASS(number, name, ...) GUEST_##name = (number),
#define PATH PASS
#define CALL PASS
#define NONE PASS
#include "proc/syscalls.def"
#undef PASS
#undef PATH
#undef CALL
#undef NONE
};
