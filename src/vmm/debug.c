#include "vmm/vm_internal.h"

#include <errno.h>

int vm_debug_open(struct vm *vm, struct error *err)
{
    return error_set(err, ENOTSUP, "--gdb %s: not there yet", vm->config.gdb);
}

void vm_debug_close(struct vm *vm)
{
    (void)vm;
}

bool vm_debug_wait(struct vm *vm)
{
    (void)vm;
    return false;
}

bool vm_debug_stopped(struct vm *vm)
{
    (void)vm;
    return false;
}
