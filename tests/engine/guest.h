/*
 * One hart with memory and two devices, run by the interpreter or another engine, for tests that
 * look at every instruction. No board: the test is the owner of the vCPU.
 */
#pragma once

#include "core/engine.h"
#include "isa/riscv64/csr.h"
#include "isa/riscv64/hart.h"

#define GUEST_ROM UINT64_C(0x1000)        /* a page */
#define GUEST_MMIO UINT64_C(0x10000000)   /* a page of registers of any size, which read as REG */
#define GUEST_MMIO32 UINT64_C(0x10001000) /* a page that takes 4 bytes only */
#define GUEST_RAM UINT64_C(0x80000000)
#define GUEST_RAM_SIZE UINT64_C(0x400000)
#define GUEST_REG(offset) (UINT64_C(0xf1e2d3c4b5a69788) + (offset))

#define GUEST_TABLES (GUEST_RAM + 0x300000) /* where guest_sv39 puts its tables */

struct guest_device {
    struct device dev;
    unsigned reads, writes;
    uint64_t offset, value; /* of the last access */
    unsigned size;
};

struct guest {
    struct rv_hart h;
    struct vcpu v;
    struct addrspace *mem;
    struct clock clock;
    struct guest_device any, only32;
};

/* A hart in M-mode at the start of RAM; mtvec is GUEST_TRAP. All of memory is open to all modes. */
#define GUEST_TRAP (GUEST_RAM + 0x8000)
struct guest *guest_new(void);
struct guest *guest_new_on(const struct engine_ops *engine);
void guest_free(struct guest *g);

void *guest_ptr(struct guest *g, gpa_t gpa);
void guest_code(struct guest *g, gpa_t at, const uint32_t *code, unsigned count);
#define CODE(g, at, ...)                               \
    guest_code(g, at, (const uint32_t[]){__VA_ARGS__}, \
               sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* Goes on at pc for n instructions (a trap counts as one). */
enum vcpu_exit guest_run(struct guest *g, gva_t pc, uint64_t n);
/* Runs n more and asserts that it ended for the limit, exactly there. */
void guest_steps(struct guest *g, uint64_t n);

/* Asserts that the next instruction, at pc, traps to M-mode with these values. */
void guest_expect_trap(struct guest *g, gva_t pc, unsigned cause, uint64_t tval);

/* S-mode under Sv39, with an identity gigapage for RAM. guest_map adds 4 KiB pages. */
void guest_sv39(struct guest *g);
uint64_t *guest_map(struct guest *g, gva_t va, gpa_t gpa, unsigned flags);
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
#define PTE_RWXAD (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)
#define PTE_OF(gpa, flags) ((uint64_t)(gpa) >> 12 << 10 | (flags))
