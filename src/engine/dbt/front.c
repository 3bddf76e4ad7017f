/*
 * Two steps: front_scan.c finds the blocks, `build` makes IR of each.
 *
 * A block ends at a transfer of control, at an instruction that another block begins with, or where
 * what was scanned ends. Every block adds the instructions it retired at its end, so that each
 * begins with none pending; edges backwards do it with a TICK, which is where a region can be
 * stopped. The entry has one too, because regions jump to each other.
 *
 * An inlined call writes the link register, a constant, and goes on in what it calls. The return
 * compares its target with what the call wrote, which is nothing to do as long as nobody has stored
 * the register.
 */
#include "engine/dbt/front_impl.h"

#include "base/bits.h"

/* ---- values ---- */

static ir_ref get_w(struct front *f, unsigned r)
{
    return ir_op1(f->ir, IR_TRUNC32, front_get_x(f, r));
}

static void set_w(struct front *f, unsigned r, ir_ref v)
{
    front_set_x(f, r, ir_op1(f->ir, IR_SEXT32, v));
}

static ir_ref imm64(struct front *f, const struct rv_insn *in)
{
    return ir_i64(f->ir, (uint64_t)(int64_t)in->imm);
}

static ir_ref get_d(struct front *f, unsigned r)
{
    return ir_slot_read(f->ir, FRONT_SLOT_F + r);
}

static void set_d(struct front *f, unsigned r, ir_ref v)
{
    ir_slot_write(f->ir, FRONT_SLOT_F + r, v);
}

static ir_ref get_s(struct front *f, unsigned r)
{
    return ir_op1(f->ir, IR_FUNBOX, get_d(f, r));
}

static void set_s(struct front *f, unsigned r, ir_ref v)
{
    set_d(f, r, ir_op1(f->ir, IR_FBOX, v));
}

/* ---- integer operations: table from guest to IR ---- */

enum alu_form {
    ALU_NONE,
    ALU_2,   /* 64 bits, both operands */
    ALU_2W,  /* 32 bits, result sign-extended */
    ALU_1,   /* 64 bits, one operand */
    ALU_1W,  /* 32 bits, result zero- or sign-extended by the operation's nature: counts */
    ALU_SET, /* comparison to 0 or 1 */
    ALU_OWN, /* alu_special */
};

struct alu_row {
    uint8_t form;
    uint8_t op;
};

static const struct alu_row alu_rows[RV_OP_COUNT] = {
    [RV_OP_ADD] = {ALU_2, IR_ADD},       [RV_OP_ADDI] = {ALU_2, IR_ADD},
    [RV_OP_SUB] = {ALU_2, IR_SUB},       [RV_OP_AND] = {ALU_2, IR_AND},
    [RV_OP_ANDI] = {ALU_2, IR_AND},      [RV_OP_OR] = {ALU_2, IR_OR},
    [RV_OP_ORI] = {ALU_2, IR_OR},        [RV_OP_XOR] = {ALU_2, IR_XOR},
    [RV_OP_XORI] = {ALU_2, IR_XOR},      [RV_OP_SLL] = {ALU_2, IR_SHL},
    [RV_OP_SLLI] = {ALU_2, IR_SHL},      [RV_OP_SRL] = {ALU_2, IR_SHR},
    [RV_OP_SRLI] = {ALU_2, IR_SHR},      [RV_OP_SRA] = {ALU_2, IR_SAR},
    [RV_OP_SRAI] = {ALU_2, IR_SAR},      [RV_OP_ROL] = {ALU_2, IR_ROL},
    [RV_OP_ROR] = {ALU_2, IR_ROR},       [RV_OP_RORI] = {ALU_2, IR_ROR},
    [RV_OP_MUL] = {ALU_2, IR_MUL},       [RV_OP_MULH] = {ALU_2, IR_MULHS},
    [RV_OP_MULHU] = {ALU_2, IR_MULHU},   [RV_OP_MULHSU] = {ALU_2, IR_MULHSU},
    [RV_OP_DIV] = {ALU_2, IR_DIVS},      [RV_OP_DIVU] = {ALU_2, IR_DIVU},
    [RV_OP_REM] = {ALU_2, IR_REMS},      [RV_OP_REMU] = {ALU_2, IR_REMU},
    [RV_OP_ADDW] = {ALU_2W, IR_ADD},     [RV_OP_ADDIW] = {ALU_2W, IR_ADD},
    [RV_OP_SUBW] = {ALU_2W, IR_SUB},     [RV_OP_SLLW] = {ALU_2W, IR_SHL},
    [RV_OP_SLLIW] = {ALU_2W, IR_SHL},    [RV_OP_SRLW] = {ALU_2W, IR_SHR},
    [RV_OP_SRLIW] = {ALU_2W, IR_SHR},    [RV_OP_SRAW] = {ALU_2W, IR_SAR},
    [RV_OP_SRAIW] = {ALU_2W, IR_SAR},    [RV_OP_ROLW] = {ALU_2W, IR_ROL},
    [RV_OP_RORW] = {ALU_2W, IR_ROR},     [RV_OP_RORIW] = {ALU_2W, IR_ROR},
    [RV_OP_MULW] = {ALU_2W, IR_MUL},     [RV_OP_DIVW] = {ALU_2W, IR_DIVS},
    [RV_OP_DIVUW] = {ALU_2W, IR_DIVU},   [RV_OP_REMW] = {ALU_2W, IR_REMS},
    [RV_OP_REMUW] = {ALU_2W, IR_REMU},   [RV_OP_CLZ] = {ALU_1, IR_CLZ},
    [RV_OP_CTZ] = {ALU_1, IR_CTZ},       [RV_OP_CPOP] = {ALU_1, IR_POPCNT},
    [RV_OP_SEXT_B] = {ALU_1, IR_SEXT8},  [RV_OP_SEXT_H] = {ALU_1, IR_SEXT16},
    [RV_OP_ZEXT_H] = {ALU_1, IR_ZEXT16}, [RV_OP_REV8] = {ALU_1, IR_BSWAP},
    [RV_OP_CLZW] = {ALU_1W, IR_CLZ},     [RV_OP_CTZW] = {ALU_1W, IR_CTZ},
    [RV_OP_CPOPW] = {ALU_1W, IR_POPCNT}, [RV_OP_SLT] = {ALU_SET, IR_LTS},
    [RV_OP_SLTI] = {ALU_SET, IR_LTS},    [RV_OP_SLTU] = {ALU_SET, IR_LTU},
    [RV_OP_SLTIU] = {ALU_SET, IR_LTU},   [RV_OP_ANDN] = {ALU_OWN, 0},
    [RV_OP_ORN] = {ALU_OWN, 0},          [RV_OP_XNOR] = {ALU_OWN, 0},
    [RV_OP_SH1ADD] = {ALU_OWN, 0},       [RV_OP_SH2ADD] = {ALU_OWN, 0},
    [RV_OP_SH3ADD] = {ALU_OWN, 0},       [RV_OP_ADD_UW] = {ALU_OWN, 0},
    [RV_OP_SH1ADD_UW] = {ALU_OWN, 0},    [RV_OP_SH2ADD_UW] = {ALU_OWN, 0},
    [RV_OP_SH3ADD_UW] = {ALU_OWN, 0},    [RV_OP_SLLI_UW] = {ALU_OWN, 0},
    [RV_OP_MIN] = {ALU_OWN, 0},          [RV_OP_MAX] = {ALU_OWN, 0},
    [RV_OP_MINU] = {ALU_OWN, 0},         [RV_OP_MAXU] = {ALU_OWN, 0},
    [RV_OP_BSET] = {ALU_OWN, 0},         [RV_OP_BSETI] = {ALU_OWN, 0},
    [RV_OP_BCLR] = {ALU_OWN, 0},         [RV_OP_BCLRI] = {ALU_OWN, 0},
    [RV_OP_BINV] = {ALU_OWN, 0},         [RV_OP_BINVI] = {ALU_OWN, 0},
    [RV_OP_BEXT] = {ALU_OWN, 0},         [RV_OP_BEXTI] = {ALU_OWN, 0},
    [RV_OP_CZERO_EQZ] = {ALU_OWN, 0},    [RV_OP_CZERO_NEZ] = {ALU_OWN, 0},
    [RV_OP_ORC_B] = {ALU_OWN, 0},        [RV_OP_CLMULR] = {ALU_OWN, 0},
    [RV_OP_CLMUL] = {ALU_2, IR_CLMUL},   [RV_OP_CLMULH] = {ALU_2, IR_CLMULH},
};

static ir_ref shifted_add(struct front *f, const struct rv_insn *in, ir_ref a, unsigned shift)
{
    a = ir_op2(f->ir, IR_SHL, a, ir_i64(f->ir, shift));
    return ir_op2(f->ir, IR_ADD, a, front_get_x(f, in->rs2));
}

static ir_ref zext_w(struct front *f, ir_ref a)
{
    return ir_op1(f->ir, IR_ZEXT32, ir_op1(f->ir, IR_TRUNC32, a));
}

/* a if cond(a, b), else b. */
static ir_ref pick(struct front *f, enum ir_op cond, ir_ref a, ir_ref b)
{
    return ir_select(f->ir, ir_op2(f->ir, cond, a, b), a, b);
}

/* All ones in each byte of a that is not zero: its top bit first, then spread. */
static ir_ref orc_b(struct front *f, ir_ref a)
{
    struct ir *ir = f->ir;
    ir_ref low = ir_i64(ir, UINT64_C(0x7f7f7f7f7f7f7f7f));
    ir_ref v = ir_op2(ir, IR_ADD, ir_op2(ir, IR_AND, a, low), low);
    v = ir_op2(ir, IR_OR, v, a);
    v = ir_op2(ir, IR_AND, v, ir_i64(ir, ~UINT64_C(0x7f7f7f7f7f7f7f7f)));
    return ir_op2(ir, IR_SUB, ir_op2(ir, IR_SHL, v, ir_i64(ir, 1)),
                  ir_op2(ir, IR_SHR, v, ir_i64(ir, 7)));
}

static ir_ref alu_special(struct front *f, const struct rv_insn *in, ir_ref a, ir_ref b)
{
    struct ir *ir = f->ir;
    ir_ref bit = 0;
    switch (in->op) {
    case RV_OP_ANDN:
        return ir_op2(ir, IR_AND, a, ir_op1(ir, IR_NOT, b));
    case RV_OP_ORN:
        return ir_op2(ir, IR_OR, a, ir_op1(ir, IR_NOT, b));
    case RV_OP_XNOR:
        return ir_op1(ir, IR_NOT, ir_op2(ir, IR_XOR, a, b));
    case RV_OP_SH1ADD:
    case RV_OP_SH2ADD:
    case RV_OP_SH3ADD:
        return shifted_add(f, in, a, in->op == RV_OP_SH1ADD ? 1 : in->op == RV_OP_SH2ADD ? 2 : 3);
    case RV_OP_ADD_UW:
        return shifted_add(f, in, zext_w(f, a), 0);
    case RV_OP_SH1ADD_UW:
        return shifted_add(f, in, zext_w(f, a), 1);
    case RV_OP_SH2ADD_UW:
        return shifted_add(f, in, zext_w(f, a), 2);
    case RV_OP_SH3ADD_UW:
        return shifted_add(f, in, zext_w(f, a), 3);
    case RV_OP_SLLI_UW:
        return ir_op2(ir, IR_SHL, zext_w(f, a), b);
    case RV_OP_MIN:
        return pick(f, IR_LTS, a, b);
    case RV_OP_MAX:
        return pick(f, IR_GES, a, b);
    case RV_OP_MINU:
        return pick(f, IR_LTU, a, b);
    case RV_OP_MAXU:
        return pick(f, IR_GEU, a, b);
    case RV_OP_BEXT:
    case RV_OP_BEXTI:
        return ir_op2(ir, IR_AND, ir_op2(ir, IR_SHR, a, b), ir_i64(ir, 1));
    case RV_OP_CZERO_EQZ:
        return ir_select(ir, ir_op2(ir, IR_EQ, b, ir_i64(ir, 0)), ir_i64(ir, 0), a);
    case RV_OP_ORC_B:
        return orc_b(f, a);
    case RV_OP_CLMULR: /* the upper 64 of the 127 bits */
        return ir_op2(ir, IR_OR, ir_op2(ir, IR_SHL, ir_op2(ir, IR_CLMULH, a, b), ir_i64(ir, 1)),
                      ir_op2(ir, IR_SHR, ir_op2(ir, IR_CLMUL, a, b), ir_i64(ir, 63)));
    case RV_OP_CZERO_NEZ:
        return ir_select(ir, ir_op2(ir, IR_EQ, b, ir_i64(ir, 0)), a, ir_i64(ir, 0));
    default:
        break;
    }
    bit = ir_op2(ir, IR_SHL, ir_i64(ir, 1), b);
    switch (in->op) {
    case RV_OP_BSET:
    case RV_OP_BSETI:
        return ir_op2(ir, IR_OR, a, bit);
    case RV_OP_BCLR:
    case RV_OP_BCLRI:
        return ir_op2(ir, IR_AND, a, ir_op1(ir, IR_NOT, bit));
    default: /* BINV, BINVI */
        return ir_op2(ir, IR_XOR, a, bit);
    }
}

static void build_alu(struct front *f, const struct rv_insn *in)
{
    const struct alu_row *row = &alu_rows[in->op];
    bool immediate = rv_op_info(in->op)->kind == RV_KIND_ALU_RI;
    struct ir *ir = f->ir;
    switch (row->form) {
    case ALU_2W: {
        ir_ref b = immediate ? ir_i32(ir, (uint32_t)in->imm) : get_w(f, in->rs2);
        set_w(f, in->rd, ir_op2(ir, row->op, get_w(f, in->rs1), b));
        break;
    }
    case ALU_1:
        front_set_x(f, in->rd, ir_op1(ir, row->op, front_get_x(f, in->rs1)));
        break;
    case ALU_1W:
        set_w(f, in->rd, ir_op1(ir, row->op, get_w(f, in->rs1)));
        break;
    default: {
        ir_ref a = front_get_x(f, in->rs1), b = immediate ? imm64(f, in) : front_get_x(f, in->rs2);
        ir_ref v = row->form == ALU_OWN ? alu_special(f, in, a, b)
                   : row->form == ALU_SET
                       ? ir_value(ir, IR_BOOL, IR_I64, ir_op2(ir, row->op, a, b), 0, 0, 0)
                       : ir_op2(ir, row->op, a, b);
        front_set_x(f, in->rd, v);
        break;
    }
    }
}

/* ---- memory ---- */

static uint8_t mem_aux(unsigned op)
{
    switch (op) {
    case RV_OP_LB:
        return IR_MEM_8 | IR_MEM_SIGNED;
    case RV_OP_LBU:
    case RV_OP_SB:
        return IR_MEM_8;
    case RV_OP_LH:
        return IR_MEM_16 | IR_MEM_SIGNED;
    case RV_OP_LHU:
    case RV_OP_SH:
        return IR_MEM_16;
    case RV_OP_LW:
        return IR_MEM_32 | IR_MEM_SIGNED;
    case RV_OP_LWU:
    case RV_OP_SW:
    case RV_OP_FLW:
    case RV_OP_FSW:
        return IR_MEM_32;
    default:
        return IR_MEM_64;
    }
}

static void build_memory(struct front *f, const struct rv_insn *in)
{
    struct ir *ir = f->ir;
    uint8_t aux = mem_aux(in->op);
    ir_ref base = front_get_x(f, in->rs1);
    uint32_t snap = front_snap_here(f);
    switch (in->op) {
    case RV_OP_FLW:
        set_s(f, in->rd, ir_load(ir, IR_F32, aux, base, in->imm, snap));
        break;
    case RV_OP_FLD:
        set_d(f, in->rd, ir_load(ir, IR_F64, aux, base, in->imm, snap));
        break;
    case RV_OP_FSW:
    case RV_OP_FSD:
        ir_store(ir, aux, base, in->imm,
                 ir_value(ir, IR_BITCAST, IR_I64, get_d(f, in->rs2), 0, 0, 0), snap);
        break;
    case RV_OP_SB:
    case RV_OP_SH:
    case RV_OP_SW:
    case RV_OP_SD:
        ir_store(ir, aux, base, in->imm, front_get_x(f, in->rs2), snap);
        break;
    default:
        front_set_x(f, in->rd, ir_load(ir, IR_I64, aux, base, in->imm, snap));
        break;
    }
}

/* Kinds in the order of IR_AMO_..., .w and .d. */
static bool amo_kind(unsigned op, unsigned *kind, bool *wide)
{
    static const struct {
        uint16_t w, d;
    } rows[IR_AMO_COUNT] = {
        [IR_AMO_SWAP] = {RV_OP_AMOSWAP_W, RV_OP_AMOSWAP_D},
        [IR_AMO_ADD] = {RV_OP_AMOADD_W, RV_OP_AMOADD_D},
        [IR_AMO_XOR] = {RV_OP_AMOXOR_W, RV_OP_AMOXOR_D},
        [IR_AMO_AND] = {RV_OP_AMOAND_W, RV_OP_AMOAND_D},
        [IR_AMO_OR] = {RV_OP_AMOOR_W, RV_OP_AMOOR_D},
        [IR_AMO_MIN] = {RV_OP_AMOMIN_W, RV_OP_AMOMIN_D},
        [IR_AMO_MAX] = {RV_OP_AMOMAX_W, RV_OP_AMOMAX_D},
        [IR_AMO_MINU] = {RV_OP_AMOMINU_W, RV_OP_AMOMINU_D},
        [IR_AMO_MAXU] = {RV_OP_AMOMAXU_W, RV_OP_AMOMAXU_D},
    };
    for (unsigned i = 0; i < IR_AMO_COUNT; i++)
        if (op == rows[i].w || op == rows[i].d) {
            *kind = i;
            *wide = op == rows[i].d;
            return true;
        }
    return false;
}

static void build_amo(struct front *f, const struct rv_insn *in)
{
    unsigned kind = 0;
    bool wide = false;
    amo_kind(in->op, &kind, &wide);
    ir_ref addr = front_get_x(f, in->rs1);
    ir_ref value = wide ? front_get_x(f, in->rs2) : get_w(f, in->rs2);
    ir_ref old = ir_amo(f->ir, wide ? IR_I64 : IR_I32, kind, addr, value, front_snap_here(f));
    if (wide)
        front_set_x(f, in->rd, old);
    else
        set_w(f, in->rd, old);
}

/* ---- floating point ---- */

enum fp_form {
    FP_NONE,
    FP_ARITH, /* rd = op(rs1, rs2, rs3) in the format */
    FP_SIGN,  /* the same without an environment */
    FP_TEST,  /* integer rd = comparison */
    FP_CLASS,
    FP_TO_INT,
    FP_FROM_INT,
    FP_OTHER, /* build_fp_move */
};

struct fp_row {
    uint8_t form, op;
    bool wide;        /* double */
    uint8_t args;     /* operands of FP_ARITH and FP_SIGN */
    uint8_t int_type; /* enum ir_type, for conversions */
};

#define FP_BOTH(name, form, op, args) \
    [RV_OP_##name##_S] = {form, op, false, args, 0}, [RV_OP_##name##_D] = {form, op, true, args, 0}

static const struct fp_row fp_rows[RV_OP_COUNT] = {
    FP_BOTH(FADD, FP_ARITH, IR_FADD, 2),
    FP_BOTH(FSUB, FP_ARITH, IR_FSUB, 2),
    FP_BOTH(FMUL, FP_ARITH, IR_FMUL, 2),
    FP_BOTH(FDIV, FP_ARITH, IR_FDIV, 2),
    FP_BOTH(FSQRT, FP_ARITH, IR_FSQRT, 1),
    FP_BOTH(FMADD, FP_ARITH, IR_FMADD, 3),
    FP_BOTH(FMSUB, FP_ARITH, IR_FMSUB, 3),
    FP_BOTH(FNMSUB, FP_ARITH, IR_FNMSUB, 3),
    FP_BOTH(FNMADD, FP_ARITH, IR_FNMADD, 3),
    FP_BOTH(FMIN, FP_ARITH, IR_FMIN, 2),
    FP_BOTH(FMAX, FP_ARITH, IR_FMAX, 2),
    FP_BOTH(FSGNJ, FP_SIGN, IR_FSGNJ, 2),
    FP_BOTH(FSGNJN, FP_SIGN, IR_FSGNJN, 2),
    FP_BOTH(FSGNJX, FP_SIGN, IR_FSGNJX, 2),
    FP_BOTH(FEQ, FP_TEST, IR_FEQ, 2),
    FP_BOTH(FLT, FP_TEST, IR_FLT, 2),
    FP_BOTH(FLE, FP_TEST, IR_FLE, 2),
    FP_BOTH(FCLASS, FP_CLASS, IR_FCLASS, 1),
    [RV_OP_FCVT_W_S] = {FP_TO_INT, IR_FCVT_TO_S, false, 1, IR_I32},
    [RV_OP_FCVT_WU_S] = {FP_TO_INT, IR_FCVT_TO_U, false, 1, IR_I32},
    [RV_OP_FCVT_L_S] = {FP_TO_INT, IR_FCVT_TO_S, false, 1, IR_I64},
    [RV_OP_FCVT_LU_S] = {FP_TO_INT, IR_FCVT_TO_U, false, 1, IR_I64},
    [RV_OP_FCVT_W_D] = {FP_TO_INT, IR_FCVT_TO_S, true, 1, IR_I32},
    [RV_OP_FCVT_WU_D] = {FP_TO_INT, IR_FCVT_TO_U, true, 1, IR_I32},
    [RV_OP_FCVT_L_D] = {FP_TO_INT, IR_FCVT_TO_S, true, 1, IR_I64},
    [RV_OP_FCVT_LU_D] = {FP_TO_INT, IR_FCVT_TO_U, true, 1, IR_I64},
    [RV_OP_FCVT_S_W] = {FP_FROM_INT, IR_FCVT_FROM_S, false, 1, IR_I32},
    [RV_OP_FCVT_S_WU] = {FP_FROM_INT, IR_FCVT_FROM_U, false, 1, IR_I32},
    [RV_OP_FCVT_S_L] = {FP_FROM_INT, IR_FCVT_FROM_S, false, 1, IR_I64},
    [RV_OP_FCVT_S_LU] = {FP_FROM_INT, IR_FCVT_FROM_U, false, 1, IR_I64},
    [RV_OP_FCVT_D_W] = {FP_FROM_INT, IR_FCVT_FROM_S, true, 1, IR_I32},
    [RV_OP_FCVT_D_WU] = {FP_FROM_INT, IR_FCVT_FROM_U, true, 1, IR_I32},
    [RV_OP_FCVT_D_L] = {FP_FROM_INT, IR_FCVT_FROM_S, true, 1, IR_I64},
    [RV_OP_FCVT_D_LU] = {FP_FROM_INT, IR_FCVT_FROM_U, true, 1, IR_I64},
    [RV_OP_FCVT_S_D] = {FP_OTHER, 0, false, 1, 0},
    [RV_OP_FCVT_D_S] = {FP_OTHER, 0, true, 1, 0},
    [RV_OP_FMV_X_W] = {FP_OTHER, 0, false, 1, 0},
    [RV_OP_FMV_W_X] = {FP_OTHER, 0, false, 1, 0},
    [RV_OP_FMV_X_D] = {FP_OTHER, 0, true, 1, 0},
    [RV_OP_FMV_D_X] = {FP_OTHER, 0, true, 1, 0},
};

static ir_ref get_f(struct front *f, unsigned r, bool wide)
{
    return wide ? get_d(f, r) : get_s(f, r);
}

static void set_f(struct front *f, unsigned r, bool wide, ir_ref v)
{
    if (wide)
        set_d(f, r, v);
    else
        set_s(f, r, v);
}

static void build_fp_move(struct front *f, const struct rv_insn *in)
{
    struct ir *ir = f->ir;
    switch (in->op) {
    case RV_OP_FCVT_S_D:
        set_s(f, in->rd, ir_value(ir, IR_FCVT, IR_F32, get_d(f, in->rs1), 0, 0, in->rm));
        break;
    case RV_OP_FCVT_D_S:
        set_d(f, in->rd, ir_value(ir, IR_FCVT, IR_F64, get_s(f, in->rs1), 0, 0, in->rm));
        break;
    case RV_OP_FMV_X_W: {
        ir_ref bits = ir_value(ir, IR_BITCAST, IR_I64, get_d(f, in->rs1), 0, 0, 0);
        set_w(f, in->rd, ir_op1(ir, IR_TRUNC32, bits));
        break;
    }
    case RV_OP_FMV_W_X:
        set_s(f, in->rd, ir_value(ir, IR_BITCAST, IR_F32, get_w(f, in->rs1), 0, 0, 0));
        break;
    case RV_OP_FMV_X_D:
        front_set_x(f, in->rd, ir_value(ir, IR_BITCAST, IR_I64, get_d(f, in->rs1), 0, 0, 0));
        break;
    default: /* FMV_D_X */
        set_d(f, in->rd, ir_value(ir, IR_BITCAST, IR_F64, front_get_x(f, in->rs1), 0, 0, 0));
        break;
    }
}

static void build_fp(struct front *f, const struct rv_insn *in)
{
    const struct fp_row *row = &fp_rows[in->op];
    struct ir *ir = f->ir;
    enum ir_type type = row->wide ? IR_F64 : IR_F32;
    switch (row->form) {
    case FP_ARITH:
    case FP_SIGN: {
        ir_ref a = get_f(f, in->rs1, row->wide);
        ir_ref b = row->args > 1 ? get_f(f, in->rs2, row->wide) : 0;
        ir_ref c = row->args > 2 ? get_f(f, in->rs3, row->wide) : 0;
        uint8_t aux = row->form == FP_ARITH ? in->rm : 0;
        set_f(f, in->rd, row->wide, ir_value(ir, row->op, type, a, b, c, aux));
        break;
    }
    case FP_TEST: {
        ir_ref a = get_f(f, in->rs1, row->wide), b = get_f(f, in->rs2, row->wide);
        ir_ref v = ir_value(ir, row->op, IR_I1, a, b, 0, 0);
        front_set_x(f, in->rd, ir_value(ir, IR_BOOL, IR_I64, v, 0, 0, 0));
        break;
    }
    case FP_CLASS:
        front_set_x(f, in->rd, ir_op1(ir, row->op, get_f(f, in->rs1, row->wide)));
        break;
    case FP_TO_INT: {
        ir_ref v = ir_value(ir, row->op, row->int_type, get_f(f, in->rs1, row->wide), 0, 0, in->rm);
        if (row->int_type == IR_I32)
            set_w(f, in->rd, v);
        else
            front_set_x(f, in->rd, v);
        break;
    }
    case FP_FROM_INT: {
        ir_ref v = row->int_type == IR_I32 ? get_w(f, in->rs1) : front_get_x(f, in->rs1);
        set_f(f, in->rd, row->wide, ir_value(ir, row->op, type, v, 0, 0, in->rm));
        break;
    }
    default:
        build_fp_move(f, in);
        break;
    }
}

/*
 * A dynamic rounding mode may be a reserved one, which traps: such instructions are compiled only
 * as what they nearly always are. The engine enters a region that uses floating point only while
 * frm is valid.
 */
static bool fp_compiles(const struct rv_insn *in)
{
    return fp_rows[in->op].form != FP_NONE;
}

/* ---- blocks ---- */

bool front_compiles(const struct front *f, const struct rv_insn *in)
{
    unsigned kind;
    bool wide;
    switch (rv_op_info(in->op)->kind) {
    case RV_KIND_ALU_RR:
    case RV_KIND_ALU_RI:
    case RV_KIND_ALU_R:
        return alu_rows[in->op].form != ALU_NONE;
    case RV_KIND_LUI:
    case RV_KIND_AUIPC:
    case RV_KIND_LOAD:
    case RV_KIND_STORE:
    case RV_KIND_BRANCH:
    case RV_KIND_JAL:
    case RV_KIND_JALR:
    case RV_KIND_HINT:
        return true;
    case RV_KIND_FLOAD:
        return in->op == RV_OP_FLW || in->op == RV_OP_FLD;
    case RV_KIND_FSTORE:
        return in->op == RV_OP_FSW || in->op == RV_OP_FSD;
    case RV_KIND_AMO:
        return amo_kind(in->op, &kind, &wide);
    case RV_KIND_FENCE:
        return in->op == RV_OP_FENCE;
    case RV_KIND_FP:
        return fp_compiles(in);
    case RV_KIND_LR:
    case RV_KIND_SC:
        return true;
    case RV_KIND_CSR:
        return front_csr_compiles(f, in);
    case RV_KIND_CBO:
        return in->op == RV_OP_CBO_ZERO;
    default:
        return false;
    }
}

static void build_insn(struct front *f, const struct rv_insn *in)
{
    switch (rv_op_info(in->op)->kind) {
    case RV_KIND_ALU_RR:
    case RV_KIND_ALU_RI:
    case RV_KIND_ALU_R:
        build_alu(f, in);
        break;
    case RV_KIND_LUI:
        front_set_x(f, in->rd, imm64(f, in));
        break;
    case RV_KIND_AUIPC:
        front_set_x(f, in->rd, front_pc(f, f->pc + (uint64_t)(int64_t)in->imm));
        break;
    case RV_KIND_FLOAD:
    case RV_KIND_FSTORE:
    case RV_KIND_LOAD:
    case RV_KIND_STORE:
        build_memory(f, in);
        break;
    case RV_KIND_AMO:
        build_amo(f, in);
        break;
    case RV_KIND_FENCE:
        ir_fence(f->ir);
        break;
    case RV_KIND_FP:
        build_fp(f, in);
        break;
    case RV_KIND_LR:
    case RV_KIND_SC:
        front_lr_sc(f, in);
        break;
    case RV_KIND_CSR:
        front_csr(f, in);
        break;
    case RV_KIND_CBO:
        front_cbo_zero(f, in);
        break;
    default: /* hints */
        break;
    }
}

/* Leaves the region for a guest address; those on other pages must be looked up each time. */
static void exit_to(struct front *f, uint64_t pc)
{
    if (front_has_page(f, pc))
        ir_exit(f->ir, ir_snapshot(f->ir, pc, 0));
    else
        ir_exit_ind(f->ir, front_pc(f, pc), ir_snapshot(f->ir, pc, 0));
}

/* Goes on at pc from the end of the current block, whose instructions have been counted. */
static void go_to(struct front *f, unsigned context, uint64_t pc)
{
    struct front_block *b = front_block_at(f, context, pc);
    if (b)
        ir_jump(f->ir, b->ir);
    else
        exit_to(f, pc);
}

static void build_branch(struct front *f, const struct rv_insn *in)
{
    static const uint8_t conditions[] = {
        [RV_OP_BEQ - RV_OP_BEQ] = IR_EQ,   [RV_OP_BNE - RV_OP_BEQ] = IR_NE,
        [RV_OP_BLT - RV_OP_BEQ] = IR_LTS,  [RV_OP_BGE - RV_OP_BEQ] = IR_GES,
        [RV_OP_BLTU - RV_OP_BEQ] = IR_LTU, [RV_OP_BGEU - RV_OP_BEQ] = IR_GEU,
    };
    struct ir *ir = f->ir;
    uint64_t taken = f->pc + (uint64_t)(int64_t)in->imm, next = f->pc + in->len;
    ir_ref cond = ir_op2(ir, conditions[in->op - RV_OP_BEQ], front_get_x(f, in->rs1),
                         front_get_x(f, in->rs2));
    ir_count(ir, f->retired + 1);
    /* Both sides get a block of their own: the values of slots at its start are this block's. */
    struct front_block *t = front_block_at(f, f->context, taken);
    struct front_block *n = front_block_at(f, f->context, next);
    bool backward = in->imm <= 0;
    uint32_t yes = t && !backward ? t->ir : ir_block_new(ir, taken);
    uint32_t no = n ? n->ir : ir_block_new(ir, next);
    ir_branch(ir, cond, yes, no, backward ? IR_BRANCH_LIKELY : IR_BRANCH_NONE);
    if (!t || backward) {
        ir_block_begin(ir, yes);
        ir_block_seal(ir, yes);
        if (backward)
            ir_tick(ir, 0, ir_snapshot(ir, taken, 0));
        go_to(f, f->context, taken);
    }
    if (!n) {
        ir_block_begin(ir, no);
        ir_block_seal(ir, no);
        exit_to(f, next);
    }
}

/* The return of an inlined call: nearly always to where the call expects it. */
static void build_return(struct front *f, ir_ref target)
{
    struct ir *ir = f->ir;
    const struct front_context *c = &f->contexts[f->context];
    uint32_t back = ir_block_new(ir, c->return_pc), away = ir_block_new(ir, f->pc);
    ir_branch(ir, ir_op2(ir, IR_EQ, target, front_pc(f, c->return_pc)), back, away,
              IR_BRANCH_LIKELY);
    ir_block_begin(ir, back);
    ir_block_seal(ir, back);
    go_to(f, c->parent, c->return_pc);
    ir_block_begin(ir, away);
    ir_block_seal(ir, away);
    ir_exit_ind(ir, target, ir_snapshot(ir, f->pc, 0));
}

static void build_jalr(struct front *f, const struct rv_insn *in)
{
    struct ir *ir = f->ir;
    ir_ref target = ir_op2(ir, IR_ADD, front_get_x(f, in->rs1), imm64(f, in));
    target = ir_op2(ir, IR_AND, target, ir_i64(ir, ~UINT64_C(1)));
    front_set_x(f, in->rd, front_pc(f, f->pc + in->len));
    ir_count(ir, f->retired + 1);
    if (f->context && front_is_return(in))
        build_return(f, target);
    else
        ir_exit_ind(ir, target, ir_snapshot(ir, f->pc, 0));
}

static void build_jal(struct front *f, const struct rv_insn *in)
{
    struct ir *ir = f->ir;
    uint64_t next = f->pc + in->len, target = f->pc + (uint64_t)(int64_t)in->imm;
    unsigned called = in->rd ? front_call_context(f, f->context, next) : 0;
    front_set_x(f, in->rd, front_pc(f, next));
    if (!in->rd && in->imm <= 0 && front_block_at(f, f->context, target)) {
        ir_tick(ir, f->retired + 1, ir_snapshot(ir, target, 0));
        go_to(f, f->context, target);
        return;
    }
    ir_count(ir, f->retired + 1);
    if (in->rd && !called)
        exit_to(f, target);
    else
        go_to(f, in->rd ? called : f->context, target);
}

static void build_transfer(struct front *f, const struct rv_insn *in)
{
    if (rv_op_info(in->op)->kind == RV_KIND_BRANCH)
        build_branch(f, in);
    else if (in->op == RV_OP_JALR)
        build_jalr(f, in);
    else
        build_jal(f, in);
}

/* What was scanned ends before f->pc. */
static void build_end(struct front *f)
{
    struct rv_insn in;
    bool known =
        front_decode(f, f->pc, &in, NULL) ? front_compiles(f, &in) : !front_has_page(f, f->pc);
    ir_count(f->ir, f->retired);
    if (known)
        exit_to(f, f->pc);
    else
        ir_exit_interp(f->ir, ir_snapshot(f->ir, f->pc, 0));
}

static void build_block(struct front *f, const struct front_block *b)
{
    struct rv_insn in;
    f->retired = 0;
    f->context = b->context;
    ir_block_begin(f->ir, b->ir);
    for (f->pc = b->pc;; f->pc += in.len) {
        if (f->pc != b->pc && front_block_at(f, b->context, f->pc)) {
            ir_count(f->ir, f->retired);
            go_to(f, b->context, f->pc);
            return;
        }
        if (!front_seen(f, b->context, f->pc)) {
            build_end(f);
            return;
        }
        front_decode(f, f->pc, &in, &f->bits);
        if (front_ends_block(&in)) {
            build_transfer(f, &in);
            return;
        }
        build_insn(f, &in);
        f->retired++;
    }
}

static bool block_exists(struct front *f, const struct front_block *b)
{
    return front_seen(f, b->context, b->pc);
}

/* From where the region is entered to the block. */
static void build_entry(struct front *f, const struct front_block *b)
{
    if (f->info->uses_fp)
        front_fp_gate(f, b->pc);
    ir_tick(f->ir, 0, ir_snapshot(f->ir, b->pc, 0));
    ir_jump(f->ir, b->ir);
}

/* The current block enters the region at b, the block that becomes current somewhere else. */
static void build_entrance(struct front *f, const struct front_block *b, bool last)
{
    uint32_t to = ir_block_new(f->ir, b->pc);
    uint32_t next = last ? IR_NO_BLOCK : ir_block_new(f->ir, b->pc);
    ir_enter(f->ir, to, next);
    ir_block_begin(f->ir, to);
    ir_block_seal(f->ir, to);
    build_entry(f, b);
    if (!last) {
        ir_block_begin(f->ir, next);
        ir_block_seal(f->ir, next);
    }
}

/* Limits may have been met before an entry was scanned. */
static void build_entries(struct front *f)
{
    const struct front_block *b[FRONT_MAX_ENTRIES + 1] = {&f->blocks[0]};
    unsigned count = 1;
    for (unsigned i = 0; i < f->entry_count; i++)
        if ((b[count] = front_block_at(f, 0, f->entries[i])) != NULL)
            count++;
    if (count == 1)
        build_entry(f, b[0]);
    else
        for (unsigned i = 0; i < count; i++)
            build_entrance(f, b[i], i + 1 == count);
}

static void build(struct front *f)
{
    uint8_t types[FRONT_SLOTS];
    memset(types, IR_I64, FRONT_SLOT_F);
    memset(types + FRONT_SLOT_F, IR_F64, 32);
    memset(types + FRONT_SLOT_CSR, IR_I64, FRONT_SLOTS - FRONT_SLOT_CSR);
    ir_reset(f->ir, FRONT_SLOTS, types);
    ir_declare_writes(f->ir, f->writes);
    for (unsigned i = 0; i < f->count; i++)
        if (block_exists(f, &f->blocks[i]))
            f->blocks[i].ir = ir_block_new(f->ir, f->blocks[i].pc);
    build_entries(f);
    for (unsigned i = 0; i < f->count; i++)
        if (block_exists(f, &f->blocks[i]))
            build_block(f, &f->blocks[i]);
    for (unsigned i = 0; i < f->count; i++)
        if (block_exists(f, &f->blocks[i]))
            ir_block_seal(f->ir, f->blocks[i].ir);
}

bool front_build(struct ir *ir, const struct front_input *in, struct front_info *info)
{
    struct front f;
    *info = (struct front_info){0};
    f.in = in;
    f.ir = ir;
    f.info = info;
    f.retired = 0;
    front_scan(&f);
    if (!f.count || !block_exists(&f, &f.blocks[0]))
        return false;
    info->blocks = f.count;
    build(&f);
    return ir_finish(ir);
}
