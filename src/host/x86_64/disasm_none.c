#include <stdlib.h>

#include "host/x86_64/disasm.h"

struct host_disasm {
    char unused;
};

struct host_disasm *host_disasm_new(void)
{
    return calloc(1, sizeof(struct host_disasm));
}

void host_disasm_free(struct host_disasm *d)
{
    free(d);
}

size_t host_disasm_insn(struct host_disasm *d, const uint8_t *code, size_t n, uint64_t address,
                        char text[HOST_DISASM_TEXT])
{
    (void)d;
    (void)n;
    (void)address;
    snprintf(text, HOST_DISASM_TEXT, "db 0x%02x", *code);
    return 1;
}
