/*
 * guise run --lockstep must find what an engine does wrong: one of two equal engines spoils a
 * register, a CSR or memory at some instruction, and the report must name just that.
 */
#include "engine/engines.h"
#include "isa/riscv64/hart.h"
#include "small.h"
#include "vmm/vm_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULT_AT 123456u

/* Counts in t0 and in memory, for ever. */
static const uint32_t program[] = {
    0x00001417, /* 80000000 auipc s0, 1      */
    0x00128293, /* 80000004 addi  t0, t0, 1  */
    0x00543023, /* 80000008 sd    t0, 0(s0)  */
    0xff9ff06f, /* 8000000c j     0x80000004 */
};

static void spoil_register(struct vcpu *v)
{
    ((struct rv_hart *)v->arch)->x[7] ^= 16; /* t2 */
}

static void spoil_csr(struct vcpu *v)
{
    ((struct rv_hart *)v->arch)->mscratch ^= 1;
}

static void spoil_memory(struct vcpu *v)
{
    *(uint8_t *)addrspace_ram(v->mem, 0x80003210, 1) ^= 1;
}

static enum vcpu_exit spoiled_run(struct vcpu *v, uint64_t max_insns, void (*spoil)(struct vcpu *v))
{
    const struct engine_ops *good = engines[0];
    uint64_t at = *good->icount(v);
    if (at >= FAULT_AT || max_insns < FAULT_AT - at)
        return good->run(v, max_insns);
    enum vcpu_exit exit = good->run(v, FAULT_AT - at);
    if (exit != VCPU_EXIT_LIMIT)
        return exit;
    spoil(v);
    uint64_t left = max_insns - (FAULT_AT - at);
    return left ? good->run(v, left) : exit;
}

static enum vcpu_exit run_register(struct vcpu *v, uint64_t max_insns)
{
    return spoiled_run(v, max_insns, spoil_register);
}

static enum vcpu_exit run_csr(struct vcpu *v, uint64_t max_insns)
{
    return spoiled_run(v, max_insns, spoil_csr);
}

static enum vcpu_exit run_memory(struct vcpu *v, uint64_t max_insns)
{
    return spoiled_run(v, max_insns, spoil_memory);
}

static struct vm *machine(const struct small_file *image)
{
    struct vm_config config = small_config(1000000);
    struct error err = {0};
    config.firmware = image->path;
    config.engine = engines[0]->name;
    struct vm *vm = vm_new(&config, &err);
    if (!vm) {
        printf("FAILED: no machine: %s\n", err.msg);
        exit(1);
    }
    return vm;
}

/* The report of a run whose second machine has this engine; "" if they do not differ. */
static void report(const struct engine_ops *second, const struct small_file *image, char *text,
                   size_t size)
{
    struct vm *vm[2] = {machine(image), machine(image)};
    struct vm_lockstep l = {.stride = 7};
    struct error err = {0};
    FILE *out = fmemopen(text, size, "w");
    vm[1]->engine = vm[1]->machine->vcpus[0].engine = second;
    if (!out || vm_lockstep_run(vm[0], vm[1], &l, out, &err)) {
        printf("FAILED: lockstep does not run: %s\n", err.msg);
        exit(1);
    }
    fclose(out);
    if (!l.different)
        text[0] = 0;
    vm_free(vm[0]);
    vm_free(vm[1]);
}

static bool finds(const struct small_file *image, const struct engine_ops *engine,
                  const char *first, const char *second)
{
    char text[4096] = "";
    report(engine, image, text, sizeof text);
    if ((first && (!strstr(text, first) || !strstr(text, second))) || (!first && text[0])) {
        printf("FAILED: '%s' and '%s' are not in the report:\n%s\n", first ? first : "nothing",
               second ? second : "", text);
        return false;
    }
    return true;
}

int main(void)
{
    struct small_file image;
    struct engine_ops engine = *engines[0];
    small_open(&image);
    small_put(&image, program, sizeof program);
    bool ok = finds(&image, &engine, NULL, NULL);
    engine.run = run_register;
    ok &= finds(&image, &engine, "after instruction 123455 of hart 0", "x[7] ");
    engine.run = run_csr;
    ok &= finds(&image, &engine, "after instruction 123455 of hart 0", "mscratch ");
    engine.run = run_memory;
    ok &= finds(&image, &engine, "after instruction 123455 of hart 0",
                "memory at 0x80003210: 0x00 != 0x01");
    small_close(&image);
    return ok ? 0 : 1;
}
