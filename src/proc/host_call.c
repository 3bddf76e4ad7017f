/*
 * System calls of the host that signals cannot slip past. Between the look at `pending` and the
 * syscall instruction a signal may come whose handler only notes it; the call would then wait as if
 * there were none. So the handler moves a pc in that window to where the call is given up.
 *
 * The kernel goes back to the syscall instruction itself when a call that is to be repeated was
 * interrupted: the handler finds the pc in the window then, too. Whether it is to be repeated the
 * kernel has decided by the flags of the host's action, which are the program's. So a call that was
 * given up has always been before anything of it was done, and is repeated after the program's
 * handler, whatever its flags.
 *
 * Assembly, because no compiler promises where the window is.
 */
#include "proc/host_call.h"

#include <errno.h>

int64_t host_call(const volatile int *pending, long number, uint64_t a, uint64_t b, uint64_t c,
                  uint64_t d, uint64_t e, uint64_t f);

/* clang-format off */
__asm__(
    ".pushsection .text\n"
    ".hidden host_call\n"
    ".globl host_call\n"
    ".type host_call, @function\n"
    ".p2align 4\n"
    "host_call:\n"
    ".cfi_startproc\n"
    "movq %rdi, %r11\n"
    "movq %rsi, %rax\n"
    "movq %rdx, %rdi\n"
    "movq %rcx, %rsi\n"
    "movq %r8, %rdx\n"
    "movq %r9, %r10\n"
    "movq 8(%rsp), %r8\n"
    "movq 16(%rsp), %r9\n"
    "host_call_window:\n"
    "cmpl $0, (%r11)\n"
    "jne host_call_given_up\n"
    "host_call_at_syscall:\n"
    "syscall\n"
    "host_call_done:\n"
    "ret\n"
    "host_call_given_up:\n"
    "movq $-512, %rax\n"
    "ret\n"
    "host_call_no_restart:\n"
    "movq $-4, %rax\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size host_call, . - host_call\n"
    ".popsection\n");
/* clang-format on */

_Static_assert(THREAD_RESTART == 512 && EINTR == 4, "as above");

/* Only their addresses count. */
extern const char host_call_window[] __attribute__((visibility("hidden")));
extern const char host_call_at_syscall[] __attribute__((visibility("hidden")));
extern const char host_call_done[] __attribute__((visibility("hidden")));
extern const char host_call_given_up[] __attribute__((visibility("hidden")));
extern const char host_call_no_restart[] __attribute__((visibility("hidden")));

/* The syscall instruction has been executed: it changes r11. */
static bool host_call_tried(const struct thread *t, const greg_t *regs)
{
    return (uintptr_t)regs[REG_R11] != (uintptr_t)&t->signals.pending;
}

void host_call_give_up(const struct thread *t, ucontext_t *uc, bool restarts)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    if (pc < (uintptr_t)host_call_window || pc > (uintptr_t)host_call_at_syscall)
        return;
    const char *to =
        host_call_tried(t, regs) && !restarts ? host_call_no_restart : host_call_given_up;
    regs[REG_RIP] = (greg_t)(uintptr_t)to;
}

enum host_call_end host_call_end(const struct thread *t, const ucontext_t *uc)
{
    const greg_t *regs = uc->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    if (pc == (uintptr_t)host_call_at_syscall && host_call_tried(t, regs))
        return HOST_CALL_REPEATS;
    return pc == (uintptr_t)host_call_done && regs[REG_RAX] == -EINTR ? HOST_CALL_EINTR
                                                                      : HOST_CALL_UNTOUCHED;
}

int64_t thread_host_call(struct thread *t, long number, uint64_t a, uint64_t b, uint64_t c,
                         uint64_t d, uint64_t e, uint64_t f)
{
    return host_call(&t->signals.pending, number, a, b, c, d, e, f);
}
