/*
 * From IR to host code: the interface between the translator and a host's back end. Everything that
 * depends on the host is behind it: registers, bytes, the thunks round translated code.
 *
 * Contract of generated code (x86-64):
 *
 *   rbp  the guest state (struct rv_hart *): slots' homes are at back_target.slot_offset
 *   r14  what guest memory is reached by (back_target.mem_base_offset); loaded when translated code
 *        is entered, and again after each slow path; not with BACK_DIRECT
 *   r15  the instruction count
 *   rsp  aligned to 16; BACK_FRAME bytes from it on are the region's spill area
 *   MXCSR  all masked; rounds as the guest's frm says; its flags are not yet in the guest's fflags
 *   rax  where the region is entered: the guest's pc
 *   all other registers are the allocator's
 *
 * A region is entered at its first byte, or at another of back_code.entries, with every slot in its
 * home, by the enter thunk, by the indirect thunk or by a linked exit of another region, and left
 * the same way: every slot is home again and r15 is current. rv_hart.pc is written, unless the exit
 * is a direct one.
 *
 * Slow paths. What is not done inline (a TLB miss, an FP operation out of the ordinary, any CALL)
 * is a call of the slow thunk with a *descriptor*: data behind the code that says which helper,
 * where the operands and the result are, and the snapshot. The thunk saves all registers,
 * back_slow() in emit_slow.c does the work in C, registers are restored and the code goes on. So a
 * slow path is 15 bytes, and the state is written home only when the region is really left.
 *
 * Floating point is done by the host's unit, whose rounding mode is the guest's and whose sticky
 * flags are the guest's new ones: they are moved to fflags when translated code is left and before
 * CALLs with IR_CALL_FPENV. In C the unit has its default mode. frm has to be one of the host's
 * modes, 0 to 3, while a region runs in which the rounding mode is dynamic: the owner sees to it.
 *
 * Relative regions (back_target.relative) serve at each address at which the guest maps their
 * pages: PCs of the IR are computed from the base, a word of the guest state. Whoever enters the
 * region has the pc in rax, from which it computes the base. Who comes from a region with the same
 * base enters BACK_SKIP bytes further on, where that has been done.
 *
 * Position. Code refers to addresses outside itself only through rbp, through the table of helpers
 * that rbp + back_target.helpers_offset points to, and by rel32 fields that are recorded in struct
 * back_code, so that it can be moved and stored. It wants an address aligned to 64.
 *
 * Threads: a struct back and a struct back_code belong to one thread; a target is read only.
 */
#pragma once

#include "host/x86_64/features.h"
#include "ir/ir.h"
#include "ir/ir_live.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BACK_FRAME 2048 /* bytes of spill slots that the enter thunk reserves */

/* Helpers, by index into the table. The front end's own begin at BACK_HELPER_FIRST. */
enum {
    BACK_HELPER_TARGET, /* not a function: the const struct back_target * */
    BACK_HELPER_SLOW,   /* back_slow */
    /*
     * uint64_t fn(state, va, aux of the IR | IR type << 8 | size << 16, value): what is not done
     * inline. Loads return the value, extended to 64 bits as aux says; F32 in the low half.
     */
    BACK_HELPER_LOAD,
    BACK_HELPER_STORE,
    BACK_HELPER_AMO, /* uint64_t fn(state, va, kind | size in bytes << 8, operand) */
    /*
     * uint64_t fn(state, op | result type << 8 | rm << 16 | type of operand a << 24, a, b, c): IR
     * operations with FPENV, and FCLASS. Flags go to the guest's fflags; rm may be 7, dynamic.
     */
    BACK_HELPER_FP,
    BACK_HELPER_FIRST = 8,
};
/*
 * A CALL of the IR is uint64_t fn(state, a, b, c), operands that are not there are 0.
 *
 * For all helpers: I32 and F32 operands come zero-extended, I1 as 0 or 1, FP values as their bits;
 * the upper half of a result of type I32 or F32 is ignored. When the instruction has a snapshot,
 * the state's icount and pc are those of the instruction. Slots are in their homes only for CALL
 * with IR_CALL_STATE.
 *
 * LOAD, STORE, AMO and CALL with IR_CALL_EXITS may set back_target.exit_offset (an int) to what is
 * not 0: the region is then left through BACK_THUNK_TRAP with all slots home, and the pc that the
 * snapshot or, if it changed the state's pc, the helper says.
 */

/* Bases are tested, offsets up to IR_GUARD are not, and a base may be that far out itself. */
#define BACK_WINDOW_GUARD (UINT64_C(4) << 30)

/* Where things are, fixed for an engine. Offsets are from rbp unless said to be of a pointer. */
struct back_target {
    int32_t slot_offset[IR_MAX_SLOTS]; /* home of each slot: 8 bytes (4 for slots of I32, F32) */
    uint8_t slot_type[IR_MAX_SLOTS];   /* enum ir_type, as told to ir_reset */
    int32_t pc_offset, icount_offset;
    int32_t exit_offset;               /* int: the helper wants to leave */
    int32_t stop_at_pointer_offset;    /* of a pointer to the 64-bit stop_at */
    int32_t fflags_offset, frm_offset; /* bytes */
    int32_t expect_offset;             /* 8 bytes: what IR_AMO_CAS expects, low half for I32 */
    int32_t helpers_offset;            /* of a pointer to an array of pointers */
    /*
     * Of the word that r14 is loaded from. It is the address of the TLB of the region's view, with
     * entries of 32 bytes: rtag, wtag, addend (rv_tlb_entry); or, with window_bits, the host
     * address of guest address 0 in a window of 1 << window_bits bytes with BACK_WINDOW_GUARD bytes
     * before and behind it. What is not mapped there faults at a site (back_code.sites). With
     * BACK_DIRECT guest addresses are host addresses, all faults at sites, and r14 is one more of
     * the allocator's; then the thunks are made for that, too.
     */
    int32_t mem_base_offset;
    uint32_t tlb_entries; /* a power of two */
    uint8_t window_bits;  /* 0: the TLB */
#define BACK_DIRECT 64
    /*
     * Of a pointer to the jump cache: jump_entries (a power of two) of {uint64_t pc; void *code},
     * looked at by indirect exits at index (pc >> 1) & (jump_entries - 1). Code is where a region
     * is entered. An empty entry has a pc that no target at its index has.
     */
    int32_t jump_offset;
    uint32_t jump_entries;
    /*
     * Of what is compiled next: whether it is relative, to a word at base_offset; and the base in
     * the addresses of blocks and snapshots of the IR. Then pcs in back_code are relative to it.
     * Not with BACK_DIRECT; else base is 0, and there are no PCs in the IR.
     */
    bool relative;
    uint64_t base, entry; /* entry: where the guest enters it first */
    int32_t base_offset;
#define BACK_SKIP 16
    struct host_features features;
    uint32_t random_seed; /* 0: none; else the allocator chooses at random among what is legal */
};

/* Why translated code came back; also the places outside the region that its code jumps to. */
enum back_thunk {
    BACK_THUNK_EXIT,     /* direct exit that is not linked: pc is NOT written, see `link` */
    BACK_THUNK_INDIRECT, /* pc is written and not in the jump cache */
    BACK_THUNK_INTERP,   /* the instruction at pc is to be interpreted */
    BACK_THUNK_STOP,     /* stop_at was reached */
    BACK_THUNK_TRAP,     /* exit_offset says why */
    BACK_THUNK_SLOW,     /* used in regions only */
    BACK_THUNK_FLAGS,    /* data: fflags by the flags of MXCSR */
    BACK_THUNK_COUNT,
};

/*
 * Where a region that is entered at several places (IR_ENTER) is entered for the guest's pc, as it
 * is at its first byte, which is the first of them.
 */
struct back_entry {
    uint64_t pc;
    uint64_t at; /* offset in the code */
};

/*
 * A direct exit to the guest's pc: a jump whose aligned rel32 field can be redirected to the region
 * for pc by one atomic store (asm_patch_rel32). Unlinked it goes to `stub`, which loads the 32 bits
 * at `index` and leaves through BACK_THUNK_EXIT with them as `link`; the engine sets them.
 */
struct back_link {
    uint64_t pc;
    uint32_t field, stub, index; /* offsets in the code */
};

/* A rel32 field: jump or call to a thunk. */
struct back_ref {
    uint32_t field;
    uint32_t thunk; /* enum back_thunk */
};

/*
 * A host instruction that may fault on guest memory, and where its slow path is: it can be
 * repeated, or the code can go on at `slow`, which does all of the guest's instruction. Sorted by
 * `at`.
 */
struct back_site {
    uint32_t at, slow; /* slow | BACK_SITE_WRITE: part of what needs permission to write */
};
#define BACK_SITE_WRITE (1u << 31)

/*
 * What the emitter produced. The arrays belong to the struct and are used again. Before the code
 * runs, back_ref fields have to be filled: back_place().
 */
struct back_code {
    uint8_t *bytes; /* caller's buffer */
    size_t cap, size;
    uint32_t hot_size; /* what follows are slow paths, exits, descriptors and a copy of the sites */
    size_t sites_at;   /* where that is */
    struct back_entry *entries; /* none in a region that is entered at its first byte only */
    uint32_t entry_count, entry_cap;
    struct back_link *links;
    uint32_t link_count, link_cap;
    struct back_ref *refs;
    uint32_t ref_count, ref_cap;
    struct back_site *sites;
    uint32_t site_count, site_cap;
};

void back_code_init(struct back_code *code, void *bytes, size_t cap);
void back_code_fini(struct back_code *code); /* not the buffer */

/*
 * The thunks, once for each code memory; all within 2 GiB of all regions.
 *
 *   uint64_t enter(void *state, const void *region)
 *
 * runs translated code, with the count in the state's icount, until it leaves; then pc (see
 * back_thunk) and icount are current. Returns enum back_thunk | link << 32.
 */
struct back_thunks {
    uint32_t enter;                   /* offset of the function */
    uint32_t thunk[BACK_THUNK_COUNT]; /* offsets, meant for back_place */
};

/* Writes the thunks to code->bytes. False: no room (4 KiB is plenty). */
bool back_emit_thunks(const struct back_target *t, struct back_code *code, struct back_thunks *out);

/*
 * Completes the region that was copied to `place` in a writable mapping, and which is executed at
 * `exec`; the thunks' code is executed at `thunks_exec`. The thunks themselves need no completion.
 */
void back_place(const struct back_code *code, void *place, const void *exec,
                const struct back_thunks *thunks, const void *thunks_exec);

struct back; /* scratch memory of one compiling thread */

struct back *back_new(void); /* NULL: out of memory */
void back_free(struct back *b);

/*
 * Allocates registers and emits. ir is finished and optimized; live has been built for it. `out` is
 * overwritten. False: the region cannot be compiled within the bounds (code buffer, frame, memory);
 * it is given up. dump may be NULL.
 */
bool back_compile(struct back *b, const struct back_target *t, const struct ir *ir,
                  const struct ir_live *live, struct back_code *out, FILE *dump);

/*
 * Called by the slow thunk; to be put into the table of helpers, which it gets too. regs are the
 * saved registers, desc the descriptor. Returns 0 to go on, else the enum back_thunk to leave
 * through.
 */
uint64_t back_slow(uint64_t *regs, const uint32_t *desc, void *const *helpers);
