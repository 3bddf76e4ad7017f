/*
 * Guarded accesses as leaf functions of one contiguous range of code. They push nothing, so
 * whatever of them faults, the return address is on top of the stack: going on at a `ret` with a
 * failure in rax is all that recovery takes, and guarded_landing only has to know the range.
 *
 * Assembly, because no compiler promises where its loads are, or that none of them is elsewhere.
 */
#include "host/guarded.h"

#include "host/fault_impl.h"

/* clang-format off */
#define FUNCTION(name) \
    ".globl " name "\n" \
    ".hidden " name "\n" \
    ".type " name ", @function\n" \
    ".p2align 4\n" \
    name ":\n" \
    ".cfi_startproc\n"
#define END(name) \
    ".cfi_endproc\n" \
    ".size " name ", . - " name "\n"
#define SUCCEED "movl $1, %eax\n" "ret\n"

__asm__(
    ".pushsection .text\n"
    "guarded_begin:\n"

    /* rdi: to, rsi: from, rdx: size */
    FUNCTION("guarded_copy")
    "movq %rdx, %rcx\n"
    "rep movsb\n"
    SUCCEED
    END("guarded_copy")

    /* rdi: to, rsi: size */
    FUNCTION("guarded_clear")
    "movq %rsi, %rcx\n"
    "xorl %eax, %eax\n"
    "rep stosb\n"
    SUCCEED
    END("guarded_clear")

    /* rdi: from, esi: size, rdx: value */
    FUNCTION("guarded_load")
    "cmpl $4, %esi\n"
    "ja 8f\n"
    "je 4f\n"
    "cmpl $2, %esi\n"
    "je 2f\n"
    "movzbl (%rdi), %eax\n"
    "jmp 1f\n"
    "2: movzwl (%rdi), %eax\n"
    "jmp 1f\n"
    "4: movl (%rdi), %eax\n"
    "jmp 1f\n"
    "8: movq (%rdi), %rax\n"
    "1: movq %rax, (%rdx)\n"
    SUCCEED
    END("guarded_load")

    /* rdi: to, esi: size, rdx: value */
    FUNCTION("guarded_store")
    "cmpl $4, %esi\n"
    "ja 8f\n"
    "je 4f\n"
    "cmpl $2, %esi\n"
    "je 2f\n"
    "movb %dl, (%rdi)\n"
    SUCCEED
    "2: movw %dx, (%rdi)\n"
    SUCCEED
    "4: movl %edx, (%rdi)\n"
    SUCCEED
    "8: movq %rdx, (%rdi)\n"
    SUCCEED
    END("guarded_store")

    /* rdi: where, esi: size, rdx: expected, rcx: desired */
    FUNCTION("guarded_cas")
    "movq (%rdx), %rax\n"
    "cmpl $4, %esi\n"
    "je 4f\n"
    "lock cmpxchgq %rcx, (%rdi)\n"
    "je 1f\n"
    "movq %rax, (%rdx)\n"
    "1:\n"
    SUCCEED
    "4: lock cmpxchgl %ecx, (%rdi)\n"
    "je 1f\n"
    "movl %eax, %eax\n"
    "movq %rax, (%rdx)\n"
    "1:\n"
    SUCCEED
    END("guarded_cas")

    /* rdi: where */
    FUNCTION("guarded_writable")
    "lock orl $0, (%rdi)\n"
    SUCCEED
    END("guarded_writable")

    /* Where all of the above land. */
    FUNCTION("guarded_failure")
    "xorl %eax, %eax\n"
    "ret\n"
    END("guarded_failure")

    /* rdi: s, rsi: max */
    FUNCTION("guarded_strlen")
    "xorl %eax, %eax\n"
    "1: cmpq %rsi, %rax\n"
    "je guarded_no_string\n"
    "cmpb $0, (%rdi,%rax)\n"
    "je 2f\n"
    "incq %rax\n"
    "jmp 1b\n"
    "2: ret\n"
    END("guarded_strlen")

    FUNCTION("guarded_no_string")
    "movq $-1, %rax\n"
    "ret\n"
    END("guarded_no_string")
    ".popsection\n");
/* clang-format on */

/* Only their addresses count. */
extern const char guarded_begin[] __attribute__((visibility("hidden")));
extern const char guarded_failure[] __attribute__((visibility("hidden")));
extern const char guarded_no_string[] __attribute__((visibility("hidden")));

/* Of guarded_inline.h; made by the linker, if there is any. */
struct guarded_site {
    int32_t at, landing;
};
extern const struct guarded_site __start_guarded_sites[]
    __attribute__((weak, visibility("hidden")));
extern const struct guarded_site __stop_guarded_sites[] __attribute__((weak, visibility("hidden")));

static uintptr_t guarded_field(const int32_t *field)
{
    return (uintptr_t)field + (uintptr_t)(intptr_t)(*field);
}

static uintptr_t guarded_inline_landing(uintptr_t pc)
{
    for (const struct guarded_site *s = __start_guarded_sites; s != __stop_guarded_sites; s++)
        if (guarded_field(&s->at) == pc)
            return guarded_field(&s->landing);
    return 0;
}

uintptr_t guarded_landing(uintptr_t pc)
{
    if (pc >= (uintptr_t)guarded_begin && pc < (uintptr_t)guarded_failure)
        return (uintptr_t)guarded_failure;
    if (pc >= (uintptr_t)guarded_strlen && pc < (uintptr_t)guarded_no_string)
        return (uintptr_t)guarded_no_string;
    return guarded_inline_landing(pc);
}
