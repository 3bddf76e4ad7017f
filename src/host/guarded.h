/*
 * Accesses to memory that may not be there: a program's own, whose pages another of its threads may
 * unmap at any time. Each function returns false where the host refuses the access, instead of
 * SIGSEGV or SIGBUS.
 *
 * They work in every thread and in signal handlers while fault_init is in force (host/fault.h), if
 * SIGSEGV and SIGBUS are not blocked. Where there is no fault.h (guarded_any.c) they ask the
 * kernel.
 *
 * A copy that fails half-way has copied some of it. Loads, stores and exchanges of 1, 2, 4 or 8
 * bytes are atomic when they are aligned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool guarded_copy(void *to, const void *from, size_t size);
bool guarded_clear(void *to, size_t size);
/* Length of a string shorter than max; -1: it is not there, or as long. */
ptrdiff_t guarded_strlen(const char *s, size_t max);

/* The value is zero-extended. */
bool guarded_load(const void *p, unsigned size, uint64_t *value);
bool guarded_store(void *p, unsigned size, uint64_t value);
/* 4 or 8 bytes, aligned. *expected becomes what was there; it is as before when that was equal. */
bool guarded_cas(void *p, unsigned size, uint64_t *expected, uint64_t desired);
/* Whether an aligned word of 4 bytes can be written; it is not changed. */
bool guarded_writable(void *p);
