/*
 * capstone is loaded when the first dump is made, not with the program: hardly any run wants it,
 * and its tables alone would be 3 MiB of each.
 */
#include "host/x86_64/disasm.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The shared object of the version whose header this was built with. */
#define STRING_OF(x) #x
#define SONAME(major) "libcapstone.so." STRING_OF(major)

struct host_disasm {
    void *library; /* NULL: it is not there, and every byte is shown as one */
    csh handle;
    cs_insn *insn;
    cs_err (*open)(cs_arch arch, cs_mode mode, csh *handle);
    cs_err (*close)(csh *handle);
    cs_insn *(*new_insn)(csh handle);
    void (*free_insn)(cs_insn *insn, size_t count);
    bool (*disasm)(csh handle, const uint8_t **code, size_t *size, uint64_t *address,
                   cs_insn *insn);
};

/* dlsym gives the address of a function as that of an object. */
static bool find_function(const struct host_disasm *d, const char *name, void *function)
{
    void *p = dlsym(d->library, name);
    memcpy(function, &p, sizeof p);
    return p;
}

static bool disasm_load(struct host_disasm *d)
{
    d->library = dlopen(SONAME(CS_API_MAJOR), RTLD_NOW | RTLD_LOCAL);
    return d->library && find_function(d, "cs_open", &d->open) &&
           find_function(d, "cs_close", &d->close) && find_function(d, "cs_malloc", &d->new_insn) &&
           find_function(d, "cs_free", &d->free_insn) &&
           find_function(d, "cs_disasm_iter", &d->disasm) &&
           d->open(CS_ARCH_X86, CS_MODE_64, &d->handle) == CS_ERR_OK;
}

static void disasm_unload(struct host_disasm *d)
{
    if (d->library)
        dlclose(d->library);
    d->library = NULL;
}

struct host_disasm *host_disasm_new(void)
{
    struct host_disasm *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    if (!disasm_load(d)) {
        disasm_unload(d);
        return d;
    }
    d->insn = d->new_insn(d->handle);
    if (!d->insn) {
        d->close(&d->handle);
        disasm_unload(d);
        free(d);
        return NULL;
    }
    return d;
}

void host_disasm_free(struct host_disasm *d)
{
    if (!d)
        return;
    if (d->library) {
        d->free_insn(d->insn, 1);
        d->close(&d->handle);
    }
    disasm_unload(d);
    free(d);
}

size_t host_disasm_insn(struct host_disasm *d, const uint8_t *code, size_t n, uint64_t address,
                        char text[HOST_DISASM_TEXT])
{
    const uint8_t *at = code;
    if (!d->library || !d->disasm(d->handle, &at, &n, &address, d->insn)) {
        snprintf(text, HOST_DISASM_TEXT, "db 0x%02x", *code);
        return 1;
    }
    snprintf(text, HOST_DISASM_TEXT, "%s%s%s", d->insn->mnemonic, *d->insn->op_str ? " " : "",
             d->insn->op_str);
    return (size_t)(at - code);
}
