/*
 * Programs for seccomp: any that is taken ends within its length and touches nothing but its data,
 * which sanitizers watch over. The input is struct seccomp_data, then instructions.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proc/bpf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seccomp_data in;
    if (size < sizeof in + sizeof(struct sock_filter))
        return 0;
    memcpy(&in, data, sizeof in);
    size_t len = (size - sizeof in) / sizeof(struct sock_filter);
    if (len > BPF_MAXINSNS)
        len = BPF_MAXINSNS;
    /* In memory of exactly that size, so that a step beyond is seen. */
    struct sock_filter *program = malloc(len * sizeof *program);
    if (!program)
        return 0;
    memcpy(program, data + sizeof in, len * sizeof *program);
    if (bpf_check(program, (unsigned)len))
        bpf_run(program, &in);
    free(program);
    return 0;
}
