/*
 * The devices of vrig.h under the traffic of their test, whose choices are the input: a generator
 * started anew from each eight bytes. What was saved loads into fresh ones and compares equal.
 */
#include "base/bits.h"
#include "vrig.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vrig *r = vrig_new(), *copy = vrig_new();
    for (size_t at = 0; at + 8 <= size; at += 8) {
        uint64_t random = le64_get(data + at);
        for (unsigned i = 0; i < 8; i++)
            vrig_step(r, &random);
    }
    if (!vrig_copy(r, copy) || !vrig_equal(r, copy))
        abort();
    vrig_free(copy);
    vrig_free(r);
    return 0;
}
