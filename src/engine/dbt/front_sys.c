/*
 * State beyond registers in regions: the CSRs that a kernel's entry and exit paths use, the
 * reservation of LR/SC, and cbo.zero.
 *
 * Some CSRs are slots of the IR like registers, so that reading or writing one is a move. sstatus
 * is computed from mstatus; a change of it that changes the view of memory (SUM, MXR) is left to
 * the engine, which executes the instruction and goes on in another region. So is everything else
 * that is not here.
 *
 * An instruction that may let an interrupt in looks for one and leaves the region behind itself:
 * EXIT_INTERP makes the engine look again, exactly.
 */
#include "engine/dbt/front_impl.h"

#include "base/bits.h"
#include "engine/dbt/helpers.h"
#include "isa/riscv64/hart.h"

#define FFLAGS 1
#define FRM 2
#define FCSR 3
#define SSTATUS 0x100
#define TIME 0xc01

/* What S-mode reads of mstatus, without SD; what it writes (csr.c). */
#define SSTATUS_WRITE                                                                     \
    (RV_MSTATUS_SIE | RV_MSTATUS_SPIE | RV_MSTATUS_SPP | RV_MSTATUS_FS | RV_MSTATUS_SUM | \
     RV_MSTATUS_MXR)
#define SSTATUS_READ (SSTATUS_WRITE | RV_MSTATUS_VS | RV_MSTATUS_XS)
#define VIEW_BITS (RV_MSTATUS_SUM | RV_MSTATUS_MXR)

/* Supervisor CSRs that are plain storage. */
static const struct {
    uint16_t number;
    uint8_t slot;
    uint64_t mask;
} csr_slots[] = {
    {0x140, FRONT_SLOT_SSCRATCH, UINT64_MAX},
    {0x141, FRONT_SLOT_SEPC, ~UINT64_C(1)},
    {0x142, FRONT_SLOT_SCAUSE, UINT64_MAX},
    {0x143, FRONT_SLOT_STVAL, UINT64_MAX},
};

enum { CSR_SLOTS = sizeof csr_slots / sizeof csr_slots[0] };

enum csr_form { CSR_SWAP, CSR_SET, CSR_CLEAR };

static bool csr_immediate(const struct rv_insn *in)
{
    return in->op == RV_OP_CSRRWI || in->op == RV_OP_CSRRSI || in->op == RV_OP_CSRRCI;
}

static enum csr_form csr_form(const struct rv_insn *in)
{
    switch (in->op) {
    case RV_OP_CSRRW:
    case RV_OP_CSRRWI:
        return CSR_SWAP;
    case RV_OP_CSRRS:
    case RV_OP_CSRRSI:
        return CSR_SET;
    default:
        return CSR_CLEAR;
    }
}

static bool csr_writes(const struct rv_insn *in)
{
    return csr_form(in) == CSR_SWAP || in->rs1;
}

static unsigned csr_slot_index(const struct rv_insn *in)
{
    unsigned i = 0;
    while (i < CSR_SLOTS && csr_slots[i].number != (unsigned)in->imm)
        i++;
    return i;
}

/* The rounding mode is read only: a change needs another region. */
static bool csr_is_float(const struct rv_insn *in)
{
    return in->imm == FFLAGS || ((in->imm == FRM || in->imm == FCSR) && !csr_writes(in));
}

bool front_csr_uses_fp(const struct rv_insn *in)
{
    return csr_is_float(in);
}

bool front_csr_compiles(const struct front *f, const struct rv_insn *in)
{
    if (csr_is_float(in))
        return true;
    if (in->imm == TIME)
        return f->in->host_time && !csr_writes(in);
    if (f->in->view != RV_VIEW_S && f->in->view != RV_VIEW_S_SUM)
        return false;
    return in->imm == SSTATUS || csr_slot_index(in) < CSR_SLOTS;
}

static ir_ref csr_operand(struct front *f, const struct rv_insn *in)
{
    return csr_immediate(in) ? ir_i64(f->ir, in->rs1) : front_get_x(f, in->rs1);
}

static ir_ref csr_combine(struct front *f, enum csr_form form, ir_ref old, ir_ref operand)
{
    if (form == CSR_SWAP)
        return operand;
    if (form == CSR_SET)
        return ir_op2(f->ir, IR_OR, old, operand);
    return ir_op2(f->ir, IR_AND, old, ir_op1(f->ir, IR_NOT, operand));
}

static ir_ref csr_and(struct front *f, ir_ref a, uint64_t mask)
{
    return ir_op2(f->ir, IR_AND, a, ir_i64(f->ir, mask));
}

/* The engine takes over at pc if cond; else the region goes on in a new block. */
static void csr_leave_if(struct front *f, ir_ref cond, uint64_t pc)
{
    struct ir *ir = f->ir;
    ir_count(ir, f->retired);
    f->retired = 0;
    uint32_t out = ir_block_new(ir, pc), on = ir_block_new(ir, pc);
    ir_branch(ir, cond, out, on, IR_BRANCH_UNLIKELY);
    ir_block_begin(ir, out);
    ir_block_seal(ir, out);
    ir_exit_interp(ir, ir_snapshot(ir, pc, 0));
    ir_block_begin(ir, on);
    ir_block_seal(ir, on);
}

/* Behind an instruction that has set mstatus to `status`: is S-mode open to a pending interrupt? */
static void csr_look_for_interrupt(struct front *f, const struct rv_insn *in, ir_ref status)
{
    struct ir *ir = f->ir;
    ir_ref lines = ir_peek(ir, (int32_t)offsetof(struct rv_hart, irq_lines), true);
    ir_ref pending = ir_peek(ir, (int32_t)offsetof(struct rv_hart, mip), false);
    ir_ref enabled = ir_peek(ir, (int32_t)offsetof(struct rv_hart, mie), false);
    ir_ref on = csr_and(f, ir_op2(ir, IR_SHR, status, ir_i64(ir, 1)), 1);
    pending = ir_op2(ir, IR_AND, ir_op2(ir, IR_OR, pending, lines), enabled);
    pending = ir_op2(ir, IR_AND, pending, ir_op1(ir, IR_NEG, on));
    f->retired++;
    csr_leave_if(f, ir_op2(ir, IR_NE, pending, ir_i64(ir, 0)), f->pc + in->len);
    f->retired--; /* the caller counts it; the sum over the block stays right */
}

static ir_ref sstatus_value(struct front *f, ir_ref status)
{
    struct ir *ir = f->ir;
    ir_ref fs = csr_and(f, status, RV_MSTATUS_FS);
    ir_ref dirty = ir_op2(ir, IR_EQ, fs, ir_i64(ir, RV_MSTATUS_FS));
    ir_ref sd = ir_op2(ir, IR_SHL, ir_value(ir, IR_BOOL, IR_I64, dirty, 0, 0, 0), ir_i64(ir, 63));
    ir_ref v = ir_op2(ir, IR_OR, csr_and(f, status, SSTATUS_READ), ir_i64(ir, RV_MSTATUS_UXL));
    return ir_op2(ir, IR_OR, v, sd);
}

static void csr_sstatus(struct front *f, const struct rv_insn *in)
{
    struct ir *ir = f->ir;
    enum csr_form form = csr_form(in);
    ir_ref old = ir_slot_read(ir, FRONT_SLOT_MSTATUS);
    ir_ref read = in->rd ? sstatus_value(f, old) : 0;
    if (!csr_writes(in)) {
        front_set_x(f, in->rd, read);
        return;
    }
    ir_ref operand = csr_and(f, csr_operand(f, in), SSTATUS_WRITE);
    ir_ref rest = form == CSR_SWAP ? csr_and(f, old, ~SSTATUS_WRITE) : old;
    ir_ref new =
        form == CSR_SWAP ? ir_op2(ir, IR_OR, rest, operand) : csr_combine(f, form, old, operand);
    /* In this view SUM has a known value: writing that again changes nothing. */
    uint64_t same = form == CSR_SWAP                                      ? 0
                    : (form == CSR_SET) == (f->in->view == RV_VIEW_S_SUM) ? RV_MSTATUS_SUM
                                                                          : 0;
    ir_ref changed = form == CSR_SWAP ? ir_op2(ir, IR_XOR, old, new) : operand;
    /* FP instructions of this region rely on FS, which was looked at when it was entered. */
    uint64_t relied = VIEW_BITS | (f->info->uses_fp ? RV_MSTATUS_FS : 0);
    changed = csr_and(f, changed, relied & ~same);
    csr_leave_if(f, ir_op2(ir, IR_NE, changed, ir_i64(ir, 0)), f->pc);
    ir_slot_write(ir, FRONT_SLOT_MSTATUS, new);
    front_set_x(f, in->rd, read);
    bool may_open = form != CSR_CLEAR && !(ir_is_const(ir, operand) &&
                                           !((uint64_t)ir_at(ir, operand)->imm & RV_MSTATUS_SIE));
    if (may_open)
        csr_look_for_interrupt(f, in, new);
}

static void csr_float(struct front *f, const struct rv_insn *in)
{
    struct ir *ir = f->ir;
    ir_ref frm = 0, flags = 0, operand = csr_operand(f, in);
    if (in->imm != FFLAGS)
        frm = csr_and(f, ir_peek(ir, (int32_t)offsetof(struct rv_hart, frm), false), 7);
    if (in->imm != FRM && (in->rd || csr_form(in) != CSR_SWAP))
        flags = ir_fflags(ir);
    if (csr_writes(in))
        ir_fflags_set(ir, csr_combine(f, csr_form(in), flags, operand));
    if (in->imm == FCSR)
        flags = ir_op2(ir, IR_OR, flags, ir_op2(ir, IR_SHL, frm, ir_i64(ir, 5)));
    front_set_x(f, in->rd, in->imm == FRM ? frm : flags);
}

void front_csr(struct front *f, const struct rv_insn *in)
{
    if (csr_is_float(in)) {
        csr_float(f, in);
        return;
    }
    if (in->imm == SSTATUS) {
        csr_sstatus(f, in);
        return;
    }
    if (in->imm == TIME) {
        front_set_x(f, in->rd,
                    ir_call(f->ir, IR_I64, DBT_HELPER_TIME, IR_CALL_EXITS | IR_CALL_MEM_SAME,
                            ir_i64(f->ir, f->bits), 0, 0, front_snap_here(f)));
        return;
    }
    unsigned i = csr_slot_index(in);
    ir_ref old = ir_slot_read(f->ir, csr_slots[i].slot);
    if (csr_writes(in)) {
        ir_ref v = csr_combine(f, csr_form(in), old, csr_operand(f, in));
        ir_slot_write(f->ir, csr_slots[i].slot, csr_and(f, v, csr_slots[i].mask));
    }
    front_set_x(f, in->rd, old);
}

#define HART(field) ((int32_t)offsetof(struct rv_hart, field))

/* A load like any other; the alignment that it must have is looked at first. */
static void build_lr(struct front *f, const struct rv_insn *in, ir_ref addr, ir_ref key)
{
    struct ir *ir = f->ir;
    bool wide = in->op == RV_OP_LR_D;
    uint8_t aux = wide ? IR_MEM_64 : IR_MEM_32 | IR_MEM_SIGNED;
    ir_ref odd = csr_and(f, addr, wide ? 7 : 3);
    csr_leave_if(f, ir_op2(ir, IR_NE, odd, ir_i64(ir, 0)), f->pc);
    ir_ref v = ir_load(ir, IR_I64, aux | IR_MEM_RESERVE, addr, 0, front_snap_here(f));
    ir_poke(ir, HART(reserve_key), key);
    ir_poke(ir, HART(reserve_value), v);
    front_set_x(f, in->rd, v);
}

/* With a reservation for this address and size. */
static void build_sc_reserved(struct front *f, const struct rv_insn *in, ir_ref addr)
{
    struct ir *ir = f->ir;
    bool wide = in->op == RV_OP_SC_D;
    enum ir_type type = wide ? IR_I64 : IR_I32;
    ir_ref expected = ir_peek(ir, HART(reserve_value), false);
    ir_ref value = front_get_x(f, in->rs2);
    if (!wide) {
        expected = ir_op1(ir, IR_TRUNC32, expected);
        value = ir_op1(ir, IR_TRUNC32, value);
    }
    ir_ref old = ir_amo(ir, type, IR_AMO_CAS, addr, value, front_snap_here(f));
    ir_poke(ir, HART(reserve_key), ir_i64(ir, RV_TLB_INVALID));
    ir_ref failed = ir_op2(ir, IR_NE, old, expected);
    front_set_x(f, in->rd, ir_value(ir, IR_BOOL, IR_I64, failed, 0, 0, 0));
}

/* A kernel's SC on the way out of a trap, for instance, is there to end a reservation. */
static void build_sc(struct front *f, const struct rv_insn *in, ir_ref addr, ir_ref key)
{
    struct ir *ir = f->ir;
    ir_ref has = ir_peek(ir, HART(reserve_key), false);
    ir_count(ir, f->retired);
    f->retired = 0;
    uint32_t none = ir_block_new(ir, f->pc), reserved = ir_block_new(ir, f->pc),
             after = ir_block_new(ir, f->pc);
    ir_branch(ir, ir_op2(ir, IR_NE, has, key), none, reserved, IR_BRANCH_NONE);
    ir_block_begin(ir, none);
    ir_block_seal(ir, none);
    ir_ref failed = ir_call(ir, IR_I64, DBT_HELPER_SC_FAILS, IR_CALL_EXITS | IR_CALL_MEM_SAME, addr,
                            ir_i64(ir, in->op == RV_OP_SC_D ? 8 : 4), 0, front_snap_here(f));
    front_set_x(f, in->rd, failed);
    ir_jump(ir, after);
    ir_block_begin(ir, reserved);
    ir_block_seal(ir, reserved);
    build_sc_reserved(f, in, addr);
    ir_jump(ir, after);
    ir_block_begin(ir, after);
    ir_block_seal(ir, after);
}

void front_lr_sc(struct front *f, const struct rv_insn *in)
{
    bool lr = in->op == RV_OP_LR_W || in->op == RV_OP_LR_D;
    bool wide = in->op == RV_OP_LR_D || in->op == RV_OP_SC_D;
    ir_ref addr = front_get_x(f, in->rs1);
    ir_ref key = ir_op2(f->ir, IR_XOR, addr, ir_i64(f->ir, rv_reserve_key(0, wide ? 8 : 4)));
    if (lr)
        build_lr(f, in, addr, key);
    else
        build_sc(f, in, addr, key);
}

void front_cbo_zero(struct front *f, const struct rv_insn *in)
{
    ir_call(f->ir, IR_VOID, DBT_HELPER_CBO_ZERO, IR_CALL_EXITS | IR_CALL_MEM_SAME,
            front_get_x(f, in->rs1), ir_i64(f->ir, f->bits), 0, front_snap_here(f));
}

void front_fp_gate(struct front *f, uint64_t pc)
{
    struct ir *ir = f->ir;
    ir_ref fs = csr_and(f, ir_slot_read(ir, FRONT_SLOT_MSTATUS), RV_MSTATUS_FS);
    ir_ref bad = ir_peek(ir, (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_FP_BAD]), false);
    bad = ir_op2(ir, IR_OR, bad, ir_op2(ir, IR_XOR, fs, ir_i64(ir, RV_MSTATUS_FS)));
    csr_leave_if(f, ir_op2(ir, IR_NE, bad, ir_i64(ir, 0)), pc);
}
