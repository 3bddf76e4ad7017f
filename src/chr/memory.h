/*
 * A character back end in memory, for tests of devices and machines: what the guest prints can be
 * read, what it shall read can be put in.
 */
#pragma once

#include "chr/chr.h"

#include <stdbool.h>

/* NULL with *err. Output beyond CHR_OUT_SIZE is refused until chr_memory_take makes room
 * (chr_write_wait waits for it). */
struct chr *chr_memory_new(struct loop *loop, struct error *err);

/*
 * Appends input, any thread; it reaches the receiver from the loop. False, nothing appended, if
 * more than CHR_IN_SIZE bytes would wait.
 */
bool chr_memory_input(struct chr *c, const void *data, size_t len);

/* Moves up to size bytes of the output so far into buf, any thread. Returns how many. */
size_t chr_memory_take(struct chr *c, void *buf, size_t size);
