/*
 * Classic BPF as seccomp has it (linux/filter.h, linux/seccomp.h): programs over the fixed 64 bytes
 * of struct seccomp_data. A checked program ends, and reads and writes nothing but the data and its
 * own 16 words.
 *
 * Threads: any.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether the kernel would take it as a filter; 1 <= len <= BPF_MAXINSNS. */
bool bpf_check(const struct sock_filter *insn, unsigned len);

/* The value a checked program returns. */
uint32_t bpf_run(const struct sock_filter *insn, const struct seccomp_data *data);
