/*
 * What a handler finds on its stack: struct rt_sigframe of the riscv64 kernel
 * (arch/riscv/include/uapi/asm/ucontext.h, sigcontext.h, ptrace.h), without vectors.
 */
#pragma once

#include "proc/signals.h"

#define SIGNAL_FRAME_SIZE 1088u

/*
 * Pushes a frame onto the stack at sp with what the thread's registers are now, and the mask to go
 * back to. The frame's address, 0: it cannot be written.
 */
uint64_t signal_frame_push(const struct thread *t, uint64_t sp, const siginfo_t *info,
                           uint64_t mask);
/* Where in a frame its siginfo and ucontext are. */
uint64_t signal_frame_info(uint64_t frame);
uint64_t signal_frame_context(uint64_t frame);

/* What a frame asks to go back to besides registers. */
struct signal_frame_rest {
    uint64_t mask;
    uint64_t stack; /* address of its stack_t */
};

bool signal_frame_read(uint64_t frame, struct signal_frame_rest *rest);

/* Sets all registers from the frame. False: it is not there or not sound; nothing has changed. */
bool signal_frame_pop(struct thread *t, uint64_t frame);
