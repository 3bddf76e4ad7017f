#include "host/x86_64/disasm.h"

#include <capstone/capstone.h>
#include <stdlib.h>

struct host_disasm {
    csh handle;
    cs_insn *insn;
};

struct host_disasm *host_disasm_new(void)
{
    struct host_disasm *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &d->handle) != CS_ERR_OK) {
        free(d);
        return NULL;
    }
    d->insn = cs_malloc(d->handle);
    if (!d->insn) {
        cs_close(&d->handle);
        free(d);
        return NULL;
    }
    return d;
}

void host_disasm_free(struct host_disasm *d)
{
    if (!d)
        return;
    cs_free(d->insn, 1);
    cs_close(&d->handle);
    free(d);
}

size_t host_disasm_insn(struct host_disasm *d, const uint8_t *code, size_t n, uint64_t address,
                        char text[HOST_DISASM_TEXT])
{
    const uint8_t *at = code;
    if (!cs_disasm_iter(d->handle, &at, &n, &address, d->insn)) {
        snprintf(text, HOST_DISASM_TEXT, "db 0x%02x", *code);
        return 1;
    }
    snprintf(text, HOST_DISASM_TEXT, "%s%s%s", d->insn->mnemonic, *d->insn->op_str ? " " : "",
             d->insn->op_str);
    return (size_t)(at - code);
}
