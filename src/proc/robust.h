/*
 * The list of robust futexes that a thread holds at its end (get_robust_list(2), the kernel's
 * Documentation/locking/robust-futex-ABI). The host's kernel keeps it, but would look at it only
 * after the thread's memory has been given to whoever waits for the thread.
 */
#pragma once

struct thread;

/* Marks the futexes of the calling thread as those of an owner that died, and forgets the list. */
void robust_list_end(struct thread *t);
