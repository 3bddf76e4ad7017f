/*
 * The interpreter: the reference semantics of riscv64. Decoded instructions are cached per page
 * (code.h) and run by threaded dispatch.
 */
#pragma once

#include "core/engine.h"

extern const struct engine_ops engine_interp;

/*
 * For an engine that compiles: the interpreter is its first stage.
 *
 * hot: the instruction in `slot` of `page` has been jumped to often; native code may be installed
 * with interp_install. native: a slot that has native code was reached, the hart's state is
 * current. page_changed: the native code of a page is void, because its bytes changed; page NULL:
 * of all pages.
 */
struct code_page;

enum interp_native {
    NATIVE_INTERPRET, /* the code does not fit the present state: nothing has happened */
    NATIVE_GO_ON,     /* the code ran, hart state says where to go on */
    NATIVE_CALL,      /* it ran to a process's system call: the pc is past that */
    NATIVE_TRAP,      /* it ran to a process's exception: as VCPU_EXIT_TRAP */
};

struct interp_hooks {
    void (*hot)(struct vcpu *v, struct code_page *page, unsigned slot, uint64_t page_va);
    enum interp_native (*native)(struct vcpu *v, struct code_page *page, uint64_t pc);
    void (*page_changed)(struct vcpu *v, struct code_page *page);
    /* A page is entered first, or with other bytes than before. */
    void (*page_made)(struct vcpu *v, struct code_page *page, uint64_t page_va);
    /* A page has nothing that was decoded, or has it no more: installs what native code it has. */
    void (*page_opened)(struct vcpu *v, struct code_page *page, uint64_t page_va);
    uint16_t threshold; /* jumps to a target before it is hot, 1 and up */
    uint32_t
        longest_run; /* instructions at most from when stop_at is reached until native returns */
};

/* As engine_interp.attach; hooks may be NULL. */
int interp_attach(struct vcpu *v, const struct interp_hooks *hooks, void *hooks_data,
                  struct error *err);
void *interp_hooks_data(const struct vcpu *v);

/* Counts a jump to the slot that the interpreter did not see. True: it is hot. */
bool interp_heat(struct vcpu *v, const struct code_page *page, unsigned slot);
/* Makes the slot call `native` when it is reached; if nothing of the page is decoded, page_opened
 * will have to. */
void interp_install(struct code_page *page, unsigned slot);
bool interp_installed(const struct code_page *page, unsigned slot);
/* There is no native code for the slot after all. */
void interp_uninstall(struct code_page *page, unsigned slot);
/* The decoded page at a guest-physical address, NULL: there is none. */
struct code_page *interp_page(const struct vcpu *v, uint64_t gpa);
/* The decoded page at a virtual address if that can be found without an effect that the guest sees,
 * up to date; else NULL. */
struct code_page *interp_page_at(struct vcpu *v, uint64_t va);
/*
 * Whether the page, of a machine, would still be fetched from at va, the address of a page, with
 * the bytes that it had. If they are others it starts over, as when it is entered. The fetch TLB
 * gets no entry that it would not have got: what is in it is for the guest to see.
 */
bool interp_page_same(struct vcpu *v, uint64_t va, const struct code_page *page);
/* Forgets all code, native or not. */
void interp_forget(struct vcpu *v);

/* The engine_ops of these names. */
void interp_code_changed(struct vcpu *v, uint64_t start, uint64_t end);
bool interp_has_code(struct vcpu *v, uint64_t start, uint64_t end);
void interp_fork_begin(struct vcpu *v);
void interp_fork_end(struct vcpu *v, bool child);

/* The exception of an instruction at h->pc that an engine executed on its own. */
struct rv_fault;
void interp_trap(struct vcpu *v, const struct rv_fault *fault);
