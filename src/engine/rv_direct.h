/*
 * Memory of a process as its instructions see it: this process's own, at the same addresses. What
 * the host refuses is a page fault of the guest; the owner of the vCPU finds out what kind.
 *
 * For rv_mem.c, whose functions come here when rv_hart.process is set and have the same contracts.
 */
#pragma once

#include "engine/rv_mem.h"

bool rv_direct_load(uint64_t va, unsigned size, uint64_t *value, struct rv_fault *fault);
bool rv_direct_store(uint64_t va, unsigned size, uint64_t value, struct rv_fault *fault);
/* stval of an access that was refused: of two pages the second one, if the first one is sound. */
uint64_t rv_direct_refused(uint64_t va, unsigned size, enum rv_access access);
/*
 * The memory is there when this returns, and can be gone when it is used: a program that unmaps
 * what another thread works on gets SIGSEGV one way or the other.
 */
void *rv_direct_atomic(uint64_t va, unsigned size, enum rv_access access, struct rv_fault *fault);
/*
 * Aligned words of 4 or 8 bytes, whose page another thread may protect or unmap at any moment: then
 * nothing has happened, and the exception is one that the program can mend. An operation is applied
 * to a copy and returns what the instruction does.
 */
bool rv_direct_amo(uint64_t va, unsigned size, rv_mem_operation operation, uint64_t operand,
                   uint64_t *result, struct rv_fault *fault);
/* *expected becomes what was there, zero-extended. */
bool rv_direct_cas(uint64_t va, unsigned size, uint64_t *expected, uint64_t desired,
                   struct rv_fault *fault);
bool rv_direct_zero(uint64_t va, uint64_t size, struct rv_fault *fault);
/* The page, readable now; NULL: it may not be executed. */
const uint8_t *rv_direct_fetch(struct vcpu *v, uint64_t va, struct rv_fault *fault);
/* Bytes of a page that was executable; NULL: it cannot be read any more. */
const uint8_t *rv_direct_page(uint64_t page);
