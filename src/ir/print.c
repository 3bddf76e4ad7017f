/* The text form of the IR; parse.c says what it looks like. */
#include <ctype.h>
#include <inttypes.h>

#include "ir/impl.h"

static void print_lower(const char *name, FILE *out)
{
    for (; *name; name++)
        fputc(tolower((unsigned char)*name), out);
}

static void print_number(int64_t v, FILE *out)
{
    if (v > -65536 && v < 65536)
        fprintf(out, "%" PRId64, v);
    else
        fprintf(out, "0x%" PRIx64, (uint64_t)v);
}

static void print_snap(const struct ir *ir, uint32_t snap, FILE *out)
{
    static const char *const how[] = {"", "sext32 ", "zext32 "};
    const struct ir_snap_entry *entry = ir_snap_entries(ir, snap);
    fprintf(out, " {0x%" PRIx64 " +%u", ir->snap[snap].pc, ir->snap[snap].retired);
    for (uint32_t i = 0; i < ir->snap[snap].count; i++)
        fprintf(out, " s%u=%sv%u", entry[i].slot, how[entry[i].how], entry[i].value);
    fputc('}', out);
}

static void print_address(const struct ir_ins *ins, FILE *out)
{
    fprintf(out, " [v%u", ins->arg[0]);
    if (ins->imm)
        fprintf(out, " %c %" PRId64, ins->imm < 0 ? '-' : '+', ins->imm < 0 ? -ins->imm : ins->imm);
    fputc(']', out);
}

static void print_access(const struct ir_ins *ins, FILE *out)
{
    fprintf(out, " %c%u", ins->aux & IR_MEM_SIGNED ? 's' : 'u', IR_MEM_SIZE(ins->aux) * 8);
    print_address(ins, out);
    if (ins->op == IR_STORE)
        fprintf(out, " v%u", ins->arg[1]);
    if (ins->aux & IR_MEM_RANGE)
        fputs(" range", out);
    if (ins->aux & IR_MEM_PERM)
        fputs(" perm", out);
}

static void print_call(const struct ir_ins *ins, FILE *out)
{
    static const struct {
        unsigned flag;
        const char *name;
    } flags[] = {{IR_CALL_STATE, "state"},
                 {IR_CALL_EXITS, "exits"},
                 {IR_CALL_MEM_SAME, "memsame"},
                 {IR_CALL_FPENV, "fpenv"}};
    fprintf(out, " %" PRId64, ins->imm);
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        if (ins->aux & flags[i].flag)
            fprintf(out, " %s", flags[i].name);
    }
}

static void print_phi(const struct ir *ir, ir_ref r, FILE *out)
{
    const struct ir_ins *ins = &ir->ins[r];
    const uint32_t *pred = ir_preds(ir, ins->block);
    if (ins->imm >= 0)
        fprintf(out, " s%" PRId64, ins->imm);
    for (uint32_t j = 0; j < ir->block[ins->block].pred_count; j++)
        fprintf(out, " block%u:v%u", pred[j], ir_phi_args(ir, r)[j]);
}

static void print_args(const struct ir_ins *ins, FILE *out)
{
    unsigned argc = ir_argc(ins);
    for (unsigned i = 0; i < argc; i++)
        fprintf(out, "%sv%u", i ? ", " : " ", ins->arg[i]);
}

static void print_branch(const struct ir *ir, const struct ir_ins *ins, FILE *out)
{
    static const char *const hint[] = {"", " likely", " unlikely"};
    const struct ir_block *b = &ir->block[ins->block];
    print_args(ins, out);
    for (uint32_t i = 0; i < b->succ_count; i++)
        fprintf(out, " block%u", b->succ[i]);
    if (ins->op == IR_BRANCH)
        fputs(hint[ins->aux], out);
}

static void print_operands(const struct ir *ir, ir_ref r, FILE *out)
{
    const struct ir_ins *ins = &ir->ins[r];
    switch (ins->op) {
    case IR_CONST:
    case IR_PC:
    case IR_GET:
    case IR_COUNT:
    case IR_TICK:
        fputc(' ', out);
        print_number(ins->imm, out);
        break;
    case IR_COUNT_IF:
        print_args(ins, out);
        fprintf(out, " ? %d : %d", ir_count_if_yes(ins->imm), ir_count_if_no(ins->imm));
        break;
    case IR_PEEK:
        fputc(' ', out);
        print_number(ins->imm, out);
        fputs(ins->aux ? " deref" : "", out);
        break;
    case IR_POKE:
        fputc(' ', out);
        print_number(ins->imm, out);
        print_args(ins, out);
        break;
    case IR_PHI:
        print_phi(ir, r, out);
        break;
    case IR_LOAD:
    case IR_STORE:
        print_access(ins, out);
        break;
    case IR_AMO:
        fprintf(out, " %s [v%u] v%u", ir_amo_names[ins->imm], ins->arg[0], ins->arg[1]);
        break;
    case IR_CALL:
        print_call(ins, out);
        print_args(ins, out);
        break;
    case IR_JUMP:
    case IR_BRANCH:
    case IR_ENTER:
        print_branch(ir, ins, out);
        break;
    default:
        print_args(ins, out);
        if (ir_flags(ins) & IR_F_FPENV && ins->aux)
            fprintf(out, " rm%u", ins->aux);
    }
}

void ir_print_ins(const struct ir *ir, ir_ref ref, FILE *out)
{
    const struct ir_ins *ins = &ir->ins[ref];
    if (ins->type != IR_VOID)
        fprintf(out, "v%u = ", ref);
    print_lower(ir_op_info[ins->op].name, out);
    if (ins->type != IR_VOID)
        fprintf(out, ".%s", ir_type_name(ins->type));
    print_operands(ir, ref, out);
    if (ins->snap)
        print_snap(ir, ins->snap, out);
}

static void print_block(const struct ir *ir, uint32_t b, FILE *out)
{
    const struct ir_block *block = &ir->block[b];
    fprintf(out, "block%u 0x%" PRIx64, b, block->pc);
    if (block->loop_depth)
        fprintf(out, " ; depth %u%s", block->loop_depth, block->loop_head ? ", loop head" : "");
    fputc('\n', out);
    IR_EACH_INS(ir, b, r)
    {
        fputs("  ", out);
        ir_print_ins(ir, r, out);
        fputc('\n', out);
    }
}

static void print_slots(const struct ir *ir, FILE *out)
{
    fputs("slots", out);
    for (unsigned s = 0, n; s < ir->slots; s += n) {
        for (n = 1; s + n < ir->slots && ir->slot_type[s + n] == ir->slot_type[s];)
            n++;
        fprintf(out, " %s*%u", ir_type_name(ir->slot_type[s]), n);
    }
    fputc('\n', out);
}

void ir_print(const struct ir *ir, FILE *out)
{
    print_slots(ir, out);
    for (uint32_t i = 0; i < ir->order_count; i++)
        print_block(ir, ir->order[i], out);
}
