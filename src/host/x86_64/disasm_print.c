#include <inttypes.h>

#include "host/x86_64/disasm.h"

enum { BYTES_SHOWN = 10 };

static void host_disasm_line(FILE *out, const uint8_t *code, size_t n, uint64_t address,
                             const char *text)
{
    fprintf(out, "%12" PRIx64 "  ", address);
    for (size_t i = 0; i < BYTES_SHOWN; i++) {
        if (i < n)
            fprintf(out, "%02x", code[i]);
        else
            fputs("  ", out);
    }
    fprintf(out, "%s  %s\n", n > BYTES_SHOWN ? "+" : " ", text);
}

void host_disasm_print(struct host_disasm *d, FILE *out, const uint8_t *code, size_t n,
                       uint64_t address)
{
    char text[HOST_DISASM_TEXT];
    for (size_t i = 0; i < n;) {
        size_t length = host_disasm_insn(d, code + i, n - i, address + i, text);
        host_disasm_line(out, code + i, length, address + i, text);
        i += length;
    }
}
