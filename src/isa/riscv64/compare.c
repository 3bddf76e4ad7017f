#include "isa/riscv64/compare.h"

#include <stdio.h>
#include <string.h>

/* What an engine may keep otherwise; and x[32], which takes what is written to x0. */
static unsigned compared(const struct state_field *f)
{
    if (f->sub || !strncmp(f->name, "context", 7))
        return 0;
    return strcmp(f->name, "x") ? (unsigned)f->count : 32;
}

static const uint8_t *element(const struct rv_hart *h, const struct state_field *f, unsigned i)
{
    return (const uint8_t *)h + f->offset + f->size * i;
}

void rv_hart_save_compared(const struct rv_hart *h, struct state_out *out)
{
    for (const struct state_field *f = rv_hart_state.fields; f->name; f++)
        state_save_bytes(out, f->name, element(h, f, 0), f->size * compared(f));
}

void rv_hart_differences(const struct rv_hart *a, const struct rv_hart *b,
                         void (*fn)(void *ctx, const char *name, uint64_t va, uint64_t vb),
                         void *ctx)
{
    for (const struct state_field *f = rv_hart_state.fields; f->name; f++) {
        unsigned count = compared(f);
        if (!memcmp(element(a, f, 0), element(b, f, 0), f->size * count))
            continue;
        for (unsigned i = 0; i < count; i++) {
            uint64_t va = 0, vb = 0;
            char name[64];
            memcpy(&va, element(a, f, i), f->size);
            memcpy(&vb, element(b, f, i), f->size);
            if (f->count > 1)
                snprintf(name, sizeof name, "%s[%u]", f->name, i);
            else
                snprintf(name, sizeof name, "%s", f->name);
            if (va != vb)
                fn(ctx, name, va, vb);
        }
    }
}

struct first {
    char *buf;
    size_t size;
    bool found;
};

static void keep_first(void *ctx, const char *name, uint64_t va, uint64_t vb)
{
    struct first *first = ctx;
    if (!first->found)
        snprintf(first->buf, first->size, "%s.%s: 0x%llx != 0x%llx", rv_hart_state.name, name,
                 (unsigned long long)va, (unsigned long long)vb);
    first->found = true;
}

bool rv_hart_equal(const struct rv_hart *a, const struct rv_hart *b, char *buf, size_t size)
{
    struct first first = {buf, size, false};
    rv_hart_differences(a, b, keep_first, &first);
    return !first.found;
}
