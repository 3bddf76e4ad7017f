/*
 * System calls of the host that signals cannot slip past. Between the look at `pending` and the
 * syscall instruction a signal may come whose handler only notes it; the call would then wait as if
 * there were none. So the handler moves a pc in that window to where the call is given up.
 *
 * The kernel goes back to the syscall instruction itself when a call that can be repeated was
 * interrupted (the host's handlers have SA_RESTART): the handler finds the pc in the window then,
 * too.
 *
 * Assembly, because no compiler promises where the window is.
 */
#include "proc/host_call.h"

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
    "ret\n"
    "host_call_given_up:\n"
    "movq $-512, %rax\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size host_call, . - host_call\n"
    ".popsection\n");
/* clang-format on */

_Static_assert(THREAD_RESTART == 512, "as above");

/* Only their addresses count. */
extern const char host_call_window[] __attribute__((visibility("hidden")));
extern const char host_call_at_syscall[] __attribute__((visibility("hidden")));
extern const char host_call_given_up[] __attribute__((visibility("hidden")));

uintptr_t host_call_interrupted(uintptr_t pc)
{
    bool inside = pc >= (uintptr_t)host_call_window && pc <= (uintptr_t)host_call_at_syscall;
    return inside ? (uintptr_t)host_call_given_up : 0;
}

int64_t thread_host_call(struct thread *t, long number, uint64_t a, uint64_t b, uint64_t c,
                         uint64_t d, uint64_t e, uint64_t f)
{
    return host_call(&t->signals.pending, number, a, b, c, d, e, f);
}
