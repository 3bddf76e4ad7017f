/*
 * The intermediate representation of a region: a control-flow graph of blocks in SSA form.
 *
 * A value is the instruction that makes it, named by its index (ir_ref). Guest registers are not
 * values but *slots*: the builder keeps for each block which value each slot has, and makes PHIs
 * where control flow joins. Instructions with the flag SNAP carry a snapshot: what the guest state
 * is at that point.
 *
 * One struct ir holds a region while it is compiled; it is reset and used again, so that compiling
 * allocates nothing. Everything is bounded by IR_MAX_...; a builder that runs out sets
 * ir->overflow, keeps working on nothing (functions return 0), and the caller gives the region up.
 *
 * Life of a region: ir_reset; build (below); ir_finish; ir_optimize or single passes; then the
 * allocator and the emitter read it (ir_live.h).
 *
 * Invariants, checked by ir_verify:
 *  1. Block 0 is the entry and has no predecessors. It begins with all GETs, CONSTs and PCs: each
 *     slot has at most one GET, each pair of type and value one CONST.
 *  2. A block is PHIs, other instructions, one terminator. A PHI has one argument for each
 *     predecessor, in the order of ir_preds. The successors of a BRANCH differ.
 *  3. A definition dominates its uses; a PHI's argument dominates the end of that predecessor; a
 *     snapshot's values dominate the instruction that has it. Types fit.
 *  4. A snapshot lists each slot at most once. A slot that is not listed has the value it had at
 *     region entry, and its home has it. (A CALL with STATE writes the slots of its snapshot home:
 *     after it a GET of one cannot be read from there. ir_finish makes later snapshots list them.)
 *  5. Every block is reachable.
 *
 * Threads: a struct ir belongs to one thread; there is no other state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef uint32_t ir_ref; /* index of an instruction; 0: none */

enum ir_type { IR_VOID, IR_I1, IR_I32, IR_I64, IR_F32, IR_F64, IR_SAME, IR_ANY };

enum ir_op {
#define IR_OP(name, argc, result, flags) IR_##name,
#include "ir/ir.def"
#undef IR_OP
    IR_OP_COUNT
};

/* Flags of operations; their names in ir.def follow IR_F_. */
enum {
    IR_F_PURE = 1u << 0,
    IR_F_COMM = 1u << 1,
    IR_F_FPENV = 1u << 2,
    IR_F_SNAP = 1u << 3,
    IR_F_MEM = 1u << 4,
    IR_F_STORE = 1u << 5,
    IR_F_EFFECT = 1u << 6,
    IR_F_TERM = 1u << 7,
};

struct ir_op_info {
    const char *name; /* as in ir.def */
    uint8_t argc;
    uint8_t result; /* enum ir_type */
    uint16_t flags;
};

extern const struct ir_op_info ir_op_info[IR_OP_COUNT];

/*
 * aux of LOAD and STORE: log2 of the size (IR_MEM_8 ...), whether a load sign-extends to its type
 * (else it zero-extends), and what ir_pass_mem found out. An access that *completed* on every path
 * to here, with the same base value and an offset in the guard distance, was RANGE: any access: the
 * base passed the range check; PERM: one that needs the same or more permission, and nothing since
 * could change translations.
 */
enum {
    IR_MEM_8 = 0,
    IR_MEM_16 = 1,
    IR_MEM_32 = 2,
    IR_MEM_64 = 3,
    IR_MEM_SIZE_MASK = 3,
    IR_MEM_SIGNED = 1u << 2,
    IR_MEM_RESERVE = 1u << 3, /* of a load: what is not done inline is a load-reserved */
    IR_MEM_RANGE = 1u << 6,
    IR_MEM_PERM = 1u << 7,
};
#define IR_MEM_SIZE(aux) (1u << ((aux)&IR_MEM_SIZE_MASK)) /* bytes */

/* imm of AMO. */
enum {
    IR_AMO_SWAP,
    IR_AMO_ADD,
    IR_AMO_XOR,
    IR_AMO_AND,
    IR_AMO_OR,
    IR_AMO_MIN,
    IR_AMO_MAX,
    IR_AMO_MINU,
    IR_AMO_MAXU,
    IR_AMO_CAS, /* writes the operand if the old value is what the state expects */
    IR_AMO_COUNT
};

/* aux of CALL */
enum {
    IR_CALL_STATE = 1u << 0,    /* the helper reads slots: they are written home before */
    IR_CALL_EXITS = 1u << 1,    /* the helper may say that the region is left, at the snapshot */
    IR_CALL_MEM_SAME = 1u << 2, /* translations of addresses are the same after it */
    IR_CALL_FPENV = 1u << 3,    /* looks at or changes rounding mode or FP flags */
};

/* imm of COUNT_IF: two numbers of 31 bits */
static inline int64_t ir_count_if_imm(int64_t yes, int64_t no)
{
    return no << 32 | yes;
}

static inline int32_t ir_count_if_yes(int64_t imm)
{
    return (int32_t)(imm & INT32_MAX);
}

static inline int32_t ir_count_if_no(int64_t imm)
{
    return (int32_t)(imm >> 32);
}

/* aux of BRANCH */
enum { IR_BRANCH_NONE, IR_BRANCH_LIKELY, IR_BRANCH_UNLIKELY }; /* of successor 0 */

#define IR_MAX_INS 16384
#define IR_MAX_BLOCKS 1024
#define IR_MAX_SLOTS 72 /* x0..x31, f0..f31, and a few for the front end */
#define IR_MAX_SNAPS 8192
#define IR_MAX_SNAP_ENTRIES 262144
#define IR_MAX_PHI_ARGS 131072
#define IR_MAX_PREDS 4096
#define IR_NO_BLOCK UINT32_MAX

struct ir_ins {
    uint8_t op;   /* enum ir_op */
    uint8_t type; /* enum ir_type */
    uint8_t aux;
    uint8_t mark; /* scratch of a pass; 0 between passes */
    ir_ref arg[3];
    uint32_t snap;      /* index of the snapshot, 0: none */
    uint32_t block;     /* index of its block */
    ir_ref prev, next;  /* in its block, 0: none */
    uint16_t uses;      /* as operand or PHI argument, 65535: that many or more; ir_count_uses */
    uint16_t snap_uses; /* in snapshots, likewise */
    int64_t imm;
};
_Static_assert(sizeof(struct ir_ins) == 48, "many of them are walked, keep them small");

/*
 * A slot's value at a snapshot: `value` itself, or (after ir_pass_narrow) an I32 value that whoever
 * writes the slot has to extend to the slot's I64.
 */
enum { IR_SNAP_PLAIN, IR_SNAP_SEXT32, IR_SNAP_ZEXT32 };

struct ir_snap_entry {
    uint16_t slot;
    uint16_t how; /* IR_SNAP_... */
    ir_ref value;
};

/* Snapshots may share their entries. */
struct ir_snap {
    uint64_t pc;           /* guest pc */
    uint32_t retired;      /* guest instructions retired since the last COUNT, TICK or entry */
    uint32_t first, count; /* entries in ir->snap_entry */
};

struct ir_block {
    ir_ref first, last;  /* instructions; last is the terminator once there is one */
    uint32_t succ[2];    /* block indices */
    uint32_t succ_count; /* as many as the terminator has */
    uint32_t pred_first; /* predecessors: chain while building; see ir_preds() */
    uint32_t pred_count;
    bool sealed; /* all predecessors are known */
    bool filled; /* has its terminator */
    uint64_t pc; /* guest pc the block begins at, for printing */
    /* by ir_analyze */
    bool loop_head;           /* a retreating edge ends here */
    uint8_t loop_depth;       /* 0: in no loop; saturates */
    uint32_t loop;            /* head of the innermost loop, IR_NO_BLOCK: none */
    uint32_t loop_end;        /* of a head: position in ir->order after the loop's last block */
    uint32_t order;           /* position in ir->order; IR_NO_BLOCK: unreachable */
    uint32_t idom;            /* immediate dominator; 0 for block 0 */
    uint32_t dom_in, dom_out; /* pre-order numbers in the dominator tree: ir_dominates */
};

/*
 * All arrays are allocated once, at their largest size; memory is touched only as far as it is
 * used. Users outside src/ir read and do not write.
 */
struct ir {
    struct ir_ins *ins; /* [0] is a NOP */
    uint32_t ins_count;
    struct ir_block *block;
    uint32_t block_count;
    struct ir_snap *snap; /* [0] is none */
    uint32_t snap_count;
    struct ir_snap_entry *snap_entry;
    uint32_t snap_entry_count;
    ir_ref *phi_arg; /* ir_phi_args */
    uint32_t phi_arg_count;
    uint32_t *pred; /* ir_preds */
    uint32_t pred_count;
    uint32_t *order; /* block indices: reverse post-order, loops contiguous; by ir_analyze */
    uint32_t order_count;
    unsigned slots;
    uint8_t slot_type[IR_MAX_SLOTS];
    ir_ref slot_get[IR_MAX_SLOTS]; /* the GET of a slot, 0: none yet */
    bool overflow;
    bool finished;
    uint32_t current;       /* block being filled, IR_NO_BLOCK: none */
    struct ir_build *build; /* private to src/ir */
};

/* --- container ------------------------------------------------------------------------------ */

struct ir *ir_new(void); /* NULL: out of memory */
void ir_free(struct ir *ir);
/*
 * Empties it and makes block 0, the entry: sealed and current. slots <= IR_MAX_SLOTS; types[i] is
 * the type of slot i (enum ir_type: I32, I64, F32, F64).
 */
void ir_reset(struct ir *ir, unsigned slots, const uint8_t *types);

static inline bool ir_overflow(const struct ir *ir)
{
    return ir->overflow;
}

static inline const struct ir_ins *ir_at(const struct ir *ir, ir_ref ref)
{
    return &ir->ins[ref];
}

static inline bool ir_is_const(const struct ir *ir, ir_ref ref)
{
    return ir->ins[ref].op == IR_CONST;
}

/* Whether a value has no place of its own, but is made where it is used: CONST and PC. */
static inline bool ir_is_leaf(const struct ir *ir, ir_ref ref)
{
    return ir->ins[ref].op == IR_CONST || ir->ins[ref].op == IR_PC;
}

/* The arguments of a PHI, one for each predecessor of its block, after ir_finish. */
static inline const ir_ref *ir_phi_args(const struct ir *ir, ir_ref phi)
{
    return ir->phi_arg + ir->ins[phi].arg[0];
}

/* The predecessors of a block (pred_count of them), after ir_finish. */
static inline const uint32_t *ir_preds(const struct ir *ir, uint32_t block)
{
    return ir->pred + ir->block[block].pred_first;
}

static inline const struct ir_snap_entry *ir_snap_entries(const struct ir *ir, uint32_t snap)
{
    return ir->snap_entry + ir->snap[snap].first;
}

/* Iteration over the instructions of block b in order; r must not be removed in the body. */
#define IR_EACH_INS(ir, b, r) for (ir_ref r = (ir)->block[b].first; r; r = (ir)->ins[r].next)

/* Whether a block ends with ENTER. */
static inline bool ir_is_entrance(const struct ir *ir, uint32_t block)
{
    return ir->ins[ir->block[block].last].op == IR_ENTER;
}

/* Number of value operands that are there: of a CALL without trailing 0s; PHI: 0. */
static inline unsigned ir_argc(const struct ir_ins *ins)
{
    unsigned argc = ir_op_info[ins->op].argc;
    while (ins->op == IR_CALL && argc && !ins->arg[argc - 1])
        argc--;
    return argc;
}

/* --- building ------------------------------------------------------------------------------- */

/*
 * A promise, for speed: only slots whose bit is set in mask (bit s of mask[s / 64]) will be written
 * in this region. Without it all may be. To be called right after ir_reset.
 */
void ir_declare_writes(struct ir *ir, const uint64_t mask[2]);

/* A new block, not sealed, not current. */
uint32_t ir_block_new(struct ir *ir, uint64_t pc);
/* Makes b, which is not filled, the block that ir_... functions add to. */
void ir_block_begin(struct ir *ir, uint32_t b);
/*
 * All edges to b have been made. A loop head is sealed after its back edges exist; a block may be
 * filled before it is sealed. Each block must be sealed once, before ir_finish.
 */
void ir_block_seal(struct ir *ir, uint32_t b);
/* Whether the current block still needs a terminator. */
bool ir_block_open(const struct ir *ir);

/* The value of a slot at this point / from here on (value has the slot's type). */
ir_ref ir_slot_read(struct ir *ir, unsigned slot);
void ir_slot_write(struct ir *ir, unsigned slot, ir_ref value);

/*
 * A snapshot of all slots as they are at this point of the current block, for the instructions
 * emitted next: the guest is at pc (which has not executed), `retired` as in struct ir_snap. Where
 * paths with different counts join, predecessors end with COUNT. Cheap to repeat: entries are
 * shared while no slot is written.
 */
uint32_t ir_snapshot(struct ir *ir, uint64_t pc, uint32_t retired);

/*
 * Values. All of these fold and share: the result may be an existing value or a constant. They are
 * total: operands of the wrong type are a bug of the caller (asserted).
 */
ir_ref ir_const(struct ir *ir, enum ir_type type, int64_t imm);
ir_ref ir_op1(struct ir *ir, enum ir_op op, ir_ref a); /* result type SAME or fixed */
ir_ref ir_op2(struct ir *ir, enum ir_op op, ir_ref a, ir_ref b);
ir_ref ir_select(struct ir *ir, ir_ref cond, ir_ref a, ir_ref b);
/* PURE and FPENV operations in general; `type` matters for result ANY only; unused operands 0. */
ir_ref ir_value(struct ir *ir, enum ir_op op, enum ir_type type, ir_ref a, ir_ref b, ir_ref c,
                uint8_t aux);

/* The guest address at an offset from the region's base. */
ir_ref ir_pc(struct ir *ir, int32_t offset);

static inline ir_ref ir_i64(struct ir *ir, uint64_t v)
{
    return ir_const(ir, IR_I64, (int64_t)v);
}

static inline ir_ref ir_i32(struct ir *ir, uint32_t v)
{
    return ir_const(ir, IR_I32, (int32_t)v);
}

/*
 * Guest memory at base + offset; constant additions in base move into the offset while it fits
 * int32. LOAD types: I32, I64 (any size up to the type's), F32 and F64 (their own size). SNAP is
 * the state before the access.
 */
ir_ref ir_load(struct ir *ir, enum ir_type type, uint8_t aux, ir_ref base, int32_t offset,
               uint32_t snap);
void ir_store(struct ir *ir, uint8_t aux, ir_ref base, int32_t offset, ir_ref value, uint32_t snap);
ir_ref ir_amo(struct ir *ir, enum ir_type type, unsigned kind, ir_ref addr, ir_ref value,
              uint32_t snap);
void ir_fence(struct ir *ir);
/* The 64 bits at an offset in the guest state, or (deref) at the address that is there. */
ir_ref ir_peek(struct ir *ir, int32_t offset, bool deref);
void ir_poke(struct ir *ir, int32_t offset, ir_ref value);

/*
 * The flags of floating point, read and written. Compilers put such a pair round a comparison that
 * has to be silent: one round nothing but FLT or FLE makes that FLT_SILENT or FLE_SILENT, and
 * writes nothing.
 */
ir_ref ir_fflags(struct ir *ir);
void ir_fflags_set(struct ir *ir, ir_ref value);

/* type VOID: no result. snap may be 0 without STATE and EXITS. */
ir_ref ir_call(struct ir *ir, enum ir_type type, unsigned helper, uint8_t aux, ir_ref a, ir_ref b,
               ir_ref c, uint32_t snap);
void ir_count(struct ir *ir, uint32_t retired); /* 0: nothing */
void ir_tick(struct ir *ir, uint32_t retired, uint32_t snap);

/*
 * Ends of the current block; afterwards no block is current. A branch on a constant becomes a jump:
 * the other block then has no edge from here.
 */
void ir_jump(struct ir *ir, uint32_t to);
void ir_branch(struct ir *ir, ir_ref cond, uint32_t yes, uint32_t no, uint8_t aux);
/*
 * A region that is entered at several places begins with a chain of blocks that hold nothing else:
 * each is where the region is entered for `to`, and names the next, IR_NO_BLOCK for the last. Both
 * blocks are new and get no other edge.
 */
void ir_enter(struct ir *ir, uint32_t to, uint32_t next);
void ir_exit(struct ir *ir, uint32_t snap);
void ir_exit_ind(struct ir *ir, ir_ref target, uint32_t snap);
void ir_exit_interp(struct ir *ir, uint32_t snap);

/*
 * Ends building: unreachable blocks and needless PHIs go, snapshots drop slots that have their
 * entry value, and list a slot that has it again after IR_CALL_STATE wrote its home. ir_analyze has
 * run. False: overflow.
 */
bool ir_finish(struct ir *ir);

/* --- analysis ------------------------------------------------------------------------------- */

/* Fills ir->order and the fields of blocks that are its business. After changes of the graph. */
void ir_analyze(struct ir *ir);
void ir_count_uses(struct ir *ir);
/* Reflexive; after ir_analyze. */
static inline bool ir_dominates(const struct ir *ir, uint32_t a, uint32_t b)
{
    return ir->block[a].dom_in <= ir->block[b].dom_in && ir->block[b].dom_in < ir->block[a].dom_out;
}

/* --- passes --------------------------------------------------------------------------------- */

struct ir_pass {
    const char *name;
    void (*run)(struct ir *ir);
};

/* Passes that may run after ir_finish, in any order and number; ends with name NULL. */
extern const struct ir_pass ir_passes[];

void ir_pass_fold(struct ir *ir);   /* folds and shares again, over the whole graph */
void ir_pass_fuse(struct ir *ir);   /* shifts and additions to what hosts do at once */
void ir_pass_dce(struct ir *ir);    /* removes PURE values that nothing and no snapshot uses */
void ir_pass_narrow(struct ir *ir); /* drops extensions nobody looks at; 32-bit chains stay I32 */
void ir_pass_ifconv(struct ir *ir); /* short branches to SELECT and COUNT_IF */
void ir_pass_mem(struct ir *ir);    /* IR_MEM_RANGE, IR_MEM_PERM */

/* An offset within +-IR_GUARD of a checked base needs no check of its own. */
#define IR_GUARD (1 << 30)

/*
 * The passes in the order that is worth it. Each is printed to `dump` (may be NULL) with the IR
 * after it. With `verify`, ir_verify runs after each. Returns 0; -EINVAL with *err naming the pass;
 * -ENOSPC when the region has become too large. (After a single pass look at ir_overflow: it leaves
 * a region that is too large unusable.)
 */
int ir_optimize(struct ir *ir, FILE *dump, bool verify, struct error *err);

/* --- text and checks ------------------------------------------------------------------------ */

/* 0, or -EINVAL and what is wrong. After ir_finish. */
int ir_verify(const struct ir *ir, struct error *err);

void ir_print(const struct ir *ir, FILE *out);
/* One instruction without a newline, as ir_print shows it. */
void ir_print_ins(const struct ir *ir, ir_ref ref, FILE *out);
/*
 * Reads what ir_print writes (docs in parse.c) into an ir, which it resets, and finishes it. Values
 * are taken as they are: nothing is folded, so that a test can show a pass anything. -EINVAL with
 * line number in *err. The text ends with NUL.
 */
int ir_parse(struct ir *ir, const char *text, struct error *err);

const char *ir_type_name(enum ir_type type);
