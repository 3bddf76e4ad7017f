#include "proc/signal_frame.h"

#include "base/bits.h"
#include "proc/signal_impl.h"
#include "proc/syscall.h"

#include <stddef.h>

struct frame_context {
    uint64_t flags, link;
    struct guest_stack stack;
    uint64_t mask;
    uint8_t unused[1024 / 8 - 8];
    uint64_t pad;     /* what follows is aligned to 16 bytes */
    uint64_t reg[32]; /* pc, then x1 to x31 */
    uint64_t f[32];
    uint32_t fcsr;
    uint32_t room[64]; /* for quad precision */
    uint32_t end[3];   /* 0: no extensions follow */
};

struct frame {
    uint8_t info[128];
    struct frame_context context;
};

_Static_assert(sizeof(siginfo_t) == 128, "the same on both sides");
_Static_assert(offsetof(struct frame_context, reg) == 176, "mcontext");
_Static_assert(offsetof(struct frame_context, fcsr) == 176 + 256 + 256, "fcsr");
_Static_assert(sizeof(struct frame) == SIGNAL_FRAME_SIZE, "the kernel's");

uint64_t signal_frame_info(uint64_t frame)
{
    return frame + offsetof(struct frame, info);
}

uint64_t signal_frame_context(uint64_t frame)
{
    return frame + offsetof(struct frame, context);
}

uint64_t signal_frame_push(const struct thread *t, uint64_t sp, const siginfo_t *info,
                           uint64_t mask)
{
    const struct rv_hart *h = t->hart;
    struct frame f = {.context = {
                          .stack = {.sp = t->signals.stack,
                                    .flags = t->signals.stack_flags,
                                    .size = t->signals.stack_size},
                          .mask = mask,
                          .fcsr = (uint32_t)h->frm << 5 | h->fflags,
                      }};
    memcpy(f.info, info, sizeof f.info);
    f.context.reg[0] = h->pc;
    memcpy(&f.context.reg[1], &h->x[1], 31 * sizeof h->x[0]);
    memcpy(f.context.f, h->f, sizeof f.context.f);
    uint64_t at = align_down(sp - sizeof f, 16);
    return guest_write(at, &f, sizeof f) ? at : 0;
}

bool signal_frame_read(uint64_t frame, struct signal_frame_rest *rest)
{
    uint64_t context = signal_frame_context(frame);
    rest->stack = context + offsetof(struct frame_context, stack);
    return guest_read(&rest->mask, context + offsetof(struct frame_context, mask),
                      sizeof rest->mask);
}

bool signal_frame_pop(struct thread *t, uint64_t frame)
{
    struct rv_hart *h = t->hart;
    struct frame f;
    if (!guest_read(&f, frame, sizeof f))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(f.context.end); i++)
        if (f.context.end[i])
            return false;
    h->pc = f.context.reg[0] & ~UINT64_C(1);
    memcpy(&h->x[1], &f.context.reg[1], 31 * sizeof h->x[0]);
    memcpy(h->f, f.context.f, sizeof h->f);
    h->fflags = f.context.fcsr & 0x1f;
    h->frm = f.context.fcsr >> 5 & 7;
    h->reserve_key = RV_TLB_INVALID;
    return true;
}
