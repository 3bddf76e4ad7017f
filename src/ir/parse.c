/*
 * Reads the text form, which is what ir_print writes:
 *
 *   slots i64*32 f64*32            first line: types of slots, in order
 *   block0 0x1000                  a block and its pc; the entry is the first
 *     v1 = get.i64 10              values have any numbers; they are numbered anew
 *     v2 = const.i64 -8
 *     v3 = phi.i64 s10 block0:v1 block2:v9    slot (optional), argument by predecessor
 *     v4 = add.i64 v3, v2
 *     v5 = load.i64 s32 [v4 + 8] {0x1004 +1 s10=v4 s11=sext32 v7}
 *     store u64 [v4] v5 range perm {0x1008 +2}
 *     v6 = amo.i32 add [v4] v7 {...}
 *     v8 = call.i64 3 state exits v4, v5 {...}
 *     v9 = fadd.f64 v1, v2 rm7
 *     count 5
 *     count_if v8 ? 1 : 0
 *     tick 5 {...}
 *     branch v8 block1 block2 likely
 *
 * A snapshot is {pc +retired slot=value...}. ';' begins a comment. Operands may be defined further
 * down: names are bound when the whole text has been read.
 */
#include <errno.h>
#include <stdlib.h>

#include "ir/impl.h"

#define PARSE_WORD 32

struct parse {
    struct ir *ir;
    struct error *err;
    const char *at;
    unsigned line;
    bool failed;
    uint32_t *value;    /* by number in the text: ref */
    uint32_t *block_of; /* by number in the text: block + 1 */
    uint32_t *defined;  /* by block: 1 when its line was there */
    uint32_t block;
    char word[PARSE_WORD];
};

static void parse_fail(struct parse *p, const char *what)
{
    if (!p->failed)
        error_set(p->err, EINVAL, "line %u: %s near '%.20s'", p->line, what, p->at);
    p->failed = true;
}

static void parse_space(struct parse *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == ',')
        p->at++;
    if (*p->at == ';')
        p->at += strcspn(p->at, "\n");
}

static bool parse_is(struct parse *p, const char *text)
{
    size_t n = strlen(text);
    parse_space(p);
    if (strncmp(p->at, text, n) != 0)
        return false;
    p->at += n;
    return true;
}

static void parse_expect(struct parse *p, const char *text)
{
    if (!parse_is(p, text))
        parse_fail(p, text);
}

/* A word of letters, digits and underscores into p->word. */
static void parse_word(struct parse *p)
{
    parse_space(p);
    size_t n = strspn(p->at, "abcdefghijklmnopqrstuvwxyz0123456789_");
    size_t keep = n < PARSE_WORD ? n : PARSE_WORD - 1;
    memcpy(p->word, p->at, keep);
    p->word[keep] = '\0';
    p->at += n;
    if (!n)
        parse_fail(p, "expected a word");
}

/* Takes the next word when it is this one. */
static bool parse_is_word(struct parse *p, const char *word)
{
    parse_space(p);
    size_t n = strspn(p->at, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (n != strlen(word) || memcmp(p->at, word, n) != 0)
        return false;
    p->at += n;
    return true;
}

static uint64_t parse_number(struct parse *p)
{
    char *end;
    parse_space(p);
    bool minus = *p->at == '-';
    const char *digits = p->at + minus;
    if (*digits < '0' || *digits > '9') {
        parse_fail(p, "expected a number");
        return 0;
    }
    uint64_t v = strtoull(digits, &end, 0);
    p->at = end;
    return minus ? 0 - v : v;
}

static uint32_t parse_index(struct parse *p, const char *prefix, uint32_t limit)
{
    parse_expect(p, prefix);
    uint64_t v = p->failed ? 0 : parse_number(p);
    if (v >= limit)
        parse_fail(p, "number out of range");
    return p->failed ? 0 : (uint32_t)v;
}

/* A value by its number in the text; bound later. */
static ir_ref parse_value(struct parse *p)
{
    return parse_index(p, "v", IR_MAX_INS);
}

static bool parse_next_is_value(struct parse *p)
{
    parse_space(p);
    return p->at[0] == 'v' && p->at[1] >= '0' && p->at[1] <= '9';
}

static uint32_t parse_block(struct parse *p)
{
    uint32_t number = parse_index(p, "block", IR_MAX_BLOCKS);
    if (p->failed)
        return 0;
    if (!p->block_of[number])
        p->block_of[number] = ir_block_new(p->ir, 0) + 1;
    if (p->ir->overflow)
        parse_fail(p, "too many blocks");
    return p->block_of[number] - 1;
}

static unsigned parse_type(struct parse *p)
{
    parse_word(p);
    for (unsigned t = IR_I1; t <= IR_F64; t++) {
        if (!strcmp(p->word, ir_type_name(t)))
            return t;
    }
    parse_fail(p, "unknown type");
    return IR_VOID;
}

static unsigned parse_op(struct parse *p)
{
    parse_word(p);
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        const char *name = ir_op_info[op].name;
        size_t i = 0;
        while (name[i] && p->word[i] == (name[i] == '_' ? '_' : name[i] | 0x20))
            i++;
        if (!name[i] && !p->word[i])
            return op;
    }
    parse_fail(p, "unknown operation");
    return IR_NOP;
}

static void parse_slots(struct parse *p)
{
    uint8_t types[IR_MAX_SLOTS];
    unsigned slots = 0;
    parse_expect(p, "slots");
    while (!p->failed && (parse_space(p), *p->at != '\n')) {
        unsigned type = parse_type(p);
        parse_expect(p, "*");
        uint64_t n = parse_number(p);
        if (p->failed || n > IR_MAX_SLOTS - slots || type == IR_I1) {
            parse_fail(p, "bad slots");
            return;
        }
        memset(types + slots, (int)type, n);
        slots += (unsigned)n;
    }
    ir_reset(p->ir, slots, types);
}

static uint32_t parse_snap(struct parse *p)
{
    struct ir *ir = p->ir;
    if (!parse_is(p, "{"))
        return 0;
    struct ir_snap snap = {.first = ir->snap_entry_count};
    snap.pc = parse_number(p);
    parse_expect(p, "+");
    snap.retired = (uint32_t)parse_number(p);
    while (!p->failed && !parse_is(p, "}")) {
        struct ir_snap_entry e = {.slot = (uint16_t)parse_index(p, "s", ir->slots)};
        parse_expect(p, "=");
        e.how = parse_is_word(p, "sext32")   ? IR_SNAP_SEXT32
                : parse_is_word(p, "zext32") ? IR_SNAP_ZEXT32
                                             : IR_SNAP_PLAIN;
        e.value = parse_value(p);
        if (ir->snap_entry_count == IR_MAX_SNAP_ENTRIES) {
            parse_fail(p, "too many snapshot entries");
            return 0;
        }
        ir->snap_entry[ir->snap_entry_count++] = e;
        snap.count++;
    }
    if (ir->snap_count == IR_MAX_SNAPS)
        parse_fail(p, "too many snapshots");
    if (p->failed)
        return 0;
    ir->snap[ir->snap_count] = snap;
    return ir->snap_count++;
}

static void parse_address(struct parse *p, struct ir_ins *ins)
{
    parse_expect(p, "[");
    ins->arg[0] = parse_value(p);
    if (parse_is(p, "+"))
        ins->imm = (int64_t)parse_number(p);
    else if (parse_is(p, "-"))
        ins->imm = -(int64_t)parse_number(p);
    parse_expect(p, "]");
}

static void parse_access(struct parse *p, struct ir_ins *ins)
{
    static const char *const names[] = {"u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"};
    parse_word(p);
    unsigned i = 0;
    while (i < ARRAY_SIZE(names) && strcmp(p->word, names[i]) != 0)
        i++;
    if (i == ARRAY_SIZE(names))
        parse_fail(p, "unknown access");
    ins->aux = (uint8_t)i;
    _Static_assert(IR_MEM_SIGNED == 4 && IR_MEM_64 == 3, "the order of names");
    parse_address(p, ins);
    if (ins->op == IR_STORE)
        ins->arg[1] = parse_value(p);
    if (parse_is_word(p, "range"))
        ins->aux |= IR_MEM_RANGE;
    if (parse_is_word(p, "perm"))
        ins->aux |= IR_MEM_PERM;
}

static void parse_amo(struct parse *p, struct ir_ins *ins)
{
    parse_word(p);
    while (ins->imm < IR_AMO_COUNT && strcmp(p->word, ir_amo_names[ins->imm]) != 0)
        ins->imm++;
    if (ins->imm == IR_AMO_COUNT)
        parse_fail(p, "unknown atomic");
    parse_expect(p, "[");
    ins->arg[0] = parse_value(p);
    parse_expect(p, "]");
    ins->arg[1] = parse_value(p);
    ins->aux = ins->type == IR_I64 ? IR_MEM_64 : IR_MEM_32;
}

static void parse_args(struct parse *p, struct ir_ins *ins)
{
    for (unsigned i = 0; i < 3 && parse_next_is_value(p); i++)
        ins->arg[i] = parse_value(p);
}

static void parse_call(struct parse *p, struct ir_ins *ins)
{
    ins->imm = (int64_t)parse_number(p);
    if (parse_is_word(p, "state"))
        ins->aux |= IR_CALL_STATE;
    if (parse_is_word(p, "exits"))
        ins->aux |= IR_CALL_EXITS;
    if (parse_is_word(p, "memsame"))
        ins->aux |= IR_CALL_MEM_SAME;
    if (parse_is_word(p, "fpenv"))
        ins->aux |= IR_CALL_FPENV;
    parse_args(p, ins);
}

/* Arguments are kept in ir->phi_arg as pairs until all blocks are known. */
static void parse_phi(struct parse *p, struct ir_ins *ins)
{
    struct ir *ir = p->ir;
    ins->imm = -1;
    parse_space(p);
    if (*p->at == 's')
        ins->imm = parse_index(p, "s", ir->slots);
    ins->arg[0] = ir->phi_arg_count;
    while (!p->failed && (parse_space(p), *p->at == 'b')) {
        if (ir->phi_arg_count + 2 > IR_MAX_PHI_ARGS) {
            parse_fail(p, "too many arguments");
            return;
        }
        ir->phi_arg[ir->phi_arg_count++] = parse_block(p);
        parse_expect(p, ":");
        ir->phi_arg[ir->phi_arg_count++] = parse_value(p);
    }
    ins->arg[1] = (ir->phi_arg_count - ins->arg[0]) / 2;
}

static void parse_succ(struct parse *p, struct ir_ins *ins)
{
    struct ir_block *b = &p->ir->block[p->block];
    parse_args(p, ins);
    uint32_t n = ins->op == IR_JUMP ? 1 : 2;
    b->succ[0] = parse_block(p);
    parse_space(p);
    if (ins->op == IR_ENTER && *p->at != 'b')
        n = 1;
    if (n == 2)
        b->succ[1] = parse_block(p);
    b->succ_count = n;
    if (n == 2 && b->succ[0] == b->succ[1])
        parse_fail(p, "successors are equal");
    if (parse_is_word(p, "likely"))
        ins->aux = IR_BRANCH_LIKELY;
    else if (parse_is_word(p, "unlikely"))
        ins->aux = IR_BRANCH_UNLIKELY;
}

static void parse_count_if(struct parse *p, struct ir_ins *ins)
{
    parse_args(p, ins);
    parse_expect(p, "?");
    uint64_t yes = parse_number(p);
    parse_expect(p, ":");
    uint64_t no = parse_number(p);
    if (yes > INT32_MAX || no > INT32_MAX)
        parse_fail(p, "number out of range");
    else
        ins->imm = ir_count_if_imm((int64_t)yes, (int64_t)no);
}

static void parse_operands(struct parse *p, struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_CONST:
    case IR_PC:
    case IR_GET:
    case IR_COUNT:
    case IR_TICK:
        ins->imm = (int64_t)parse_number(p);
        break;
    case IR_COUNT_IF:
        parse_count_if(p, ins);
        break;
    case IR_PEEK:
        ins->imm = (int64_t)parse_number(p);
        ins->aux = parse_is_word(p, "deref");
        break;
    case IR_POKE:
        ins->imm = (int64_t)parse_number(p);
        parse_args(p, ins);
        break;
    case IR_PHI:
        parse_phi(p, ins);
        break;
    case IR_LOAD:
    case IR_STORE:
        parse_access(p, ins);
        break;
    case IR_AMO:
        parse_amo(p, ins);
        break;
    case IR_CALL:
        parse_call(p, ins);
        break;
    case IR_JUMP:
    case IR_BRANCH:
    case IR_ENTER:
        parse_succ(p, ins);
        break;
    default:
        parse_args(p, ins);
        if (ir_flags(ins) & IR_F_FPENV && parse_is(p, "rm"))
            ins->aux = (uint8_t)parse_number(p);
    }
    ins->snap = parse_snap(p);
}

/* Of a CONST, a GET: what the container knows about it. */
static void parse_note_prelude(struct parse *p, ir_ref r)
{
    struct ir *ir = p->ir;
    struct ir_ins *ins = &ir->ins[r];
    if (p->block != 0) {
        parse_fail(p, "belongs in the first block");
        return;
    }
    ir_link_prelude(ir, r);
    if (ins->op == IR_PC) {
        if (ins->imm != (int32_t)ins->imm)
            parse_fail(p, "offset does not fit");
        ir_share_add(ir, r);
    } else if (ins->op == IR_CONST) {
        ins->imm = ir_imm_of(ins->type, (uint64_t)ins->imm);
        ir_share_add(ir, r);
    } else if ((uint64_t)ins->imm < ir->slots && !ir->slot_get[ins->imm]) {
        ir->slot_get[ins->imm] = r;
    } else {
        parse_fail(p, "no such slot, or a second GET of it");
    }
}

static void parse_ins(struct parse *p)
{
    struct ir *ir = p->ir;
    uint32_t name = IR_MAX_INS;
    if (parse_next_is_value(p)) {
        name = parse_value(p);
        parse_expect(p, "=");
    }
    struct ir_ins ins = {.op = (uint8_t)parse_op(p)};
    if (name < IR_MAX_INS) {
        parse_expect(p, ".");
        ins.type = (uint8_t)parse_type(p);
    }
    parse_operands(p, &ins);
    ir_ref r = p->failed ? 0 : ir_ins_new(ir, ins.op, ins.type);
    if (!r) {
        parse_fail(p, "too many instructions");
        return;
    }
    ir->ins[r] = ins;
    if (name < IR_MAX_INS) {
        if (p->value[name])
            parse_fail(p, "a second value of this number");
        p->value[name] = r;
    }
    if (ir_is_prelude(ins.op))
        parse_note_prelude(p, r);
    else
        ir_link_end(ir, p->block, r);
    if (ir_op_info[ins.op].flags & IR_F_TERM)
        ir->block[p->block].filled = true;
}

static void parse_block_line(struct parse *p)
{
    bool entry = p->block == IR_NO_BLOCK;
    if (entry) { /* whatever its number */
        const char *at = p->at;
        p->block_of[parse_index(p, "block", IR_MAX_BLOCKS)] = 1;
        p->at = at;
    } else if (!p->ir->block[p->block].filled) {
        parse_fail(p, "the block before has no end");
    }
    p->block = parse_block(p);
    if (p->failed)
        return;
    if (p->defined[p->block]++)
        parse_fail(p, "a second block of this number");
    p->ir->block[p->block].pc = parse_number(p);
}

static void parse_line(struct parse *p)
{
    parse_space(p);
    if (*p->at != '\n' && *p->at) {
        if (!strncmp(p->at, "block", 5))
            parse_block_line(p);
        else if (p->block == IR_NO_BLOCK || p->ir->block[p->block].filled)
            parse_fail(p, "no block to put it in");
        else
            parse_ins(p);
    }
    parse_space(p);
    if (*p->at == '\n')
        p->at++;
    else if (*p->at)
        parse_fail(p, "unexpected text");
    p->line++;
}

/* --- binding --------------------------------------------------------------------------------- */

static ir_ref parse_bound(struct parse *p, uint32_t number)
{
    if (!p->value[number]) {
        p->at = "";
        p->line = number;
        parse_fail(p, "(number of the value) has no definition");
    }
    return p->value[number];
}

/* Pairs (block, value) become arguments in the order of predecessors, in new room. */
static void parse_bind_phi(struct parse *p, ir_ref r)
{
    struct ir *ir = p->ir;
    struct ir_ins *ins = &ir->ins[r];
    const struct ir_block *b = &ir->block[ins->block];
    const uint32_t *pred = ir_preds(ir, ins->block);
    const ir_ref *pair = ir->phi_arg + ins->arg[0];
    uint32_t to = ir->phi_arg_count, n = ins->arg[1];
    if (n != b->pred_count || n > IR_MAX_PHI_ARGS - to) {
        parse_fail(p, "a PHI has not one argument for each predecessor");
        return;
    }
    for (uint32_t j = 0; j < n; j++) {
        uint32_t i = 0;
        while (i < n && pair[2 * i] != pred[j])
            i++;
        if (i == n) {
            parse_fail(p, "a PHI has no argument for a predecessor");
            return;
        }
        ir->phi_arg[to + j] = parse_bound(p, pair[2 * i + 1]);
    }
    ir->phi_arg_count += n;
    ins->arg[0] = to;
    ins->arg[1] = 0;
}

static void parse_preds(struct parse *p)
{
    struct ir *ir = p->ir;
    uint32_t n = 0;
    for (uint32_t b = 0; b < ir->block_count; b++) {
        struct ir_block *block = &ir->block[b];
        block->sealed = true;
        if (!block->filled || !p->defined[b])
            parse_fail(p, "a block is named, but not there or without an end");
        for (uint32_t i = 0; i < block->succ_count; i++)
            ir->block[block->succ[i]].pred_count++;
    }
    for (uint32_t b = 0; b < ir->block_count; b++) {
        ir->block[b].pred_first = n;
        n += ir->block[b].pred_count;
        ir->block[b].pred_count = 0;
    }
    for (uint32_t b = 0; b < ir->block_count; b++) {
        for (uint32_t i = 0; i < ir->block[b].succ_count; i++) {
            struct ir_block *s = &ir->block[ir->block[b].succ[i]];
            ir->pred[s->pred_first + s->pred_count++] = b;
        }
    }
    ir->pred_count = n;
    if (ir->block_count && ir->block[0].pred_count)
        parse_fail(p, "the first block has a predecessor");
}

static void parse_bind(struct parse *p)
{
    struct ir *ir = p->ir;
    parse_preds(p);
    for (ir_ref r = 1; r < ir->ins_count && !p->failed; r++) {
        struct ir_ins *ins = &ir->ins[r];
        if (ins->op == IR_PHI) {
            parse_bind_phi(p, r);
            continue;
        }
        unsigned argc = ir_op_info[ins->op].argc;
        for (unsigned i = 0; i < 3; i++) {
            if (ins->arg[i])
                ins->arg[i] = parse_bound(p, ins->arg[i]);
            else if (i < argc && ins->op != IR_CALL)
                parse_fail(p, "an operand is missing");
        }
    }
    for (uint32_t i = 0; i < ir->snap_entry_count && !p->failed; i++)
        ir->snap_entry[i].value = parse_bound(p, ir->snap_entry[i].value);
}

static void parse_all(struct parse *p)
{
    parse_slots(p);
    p->ir->current = IR_NO_BLOCK;
    while (!p->failed && *p->at)
        parse_line(p);
    if (!p->failed && p->block == IR_NO_BLOCK)
        parse_fail(p, "there is no block");
    if (!p->failed)
        parse_bind(p);
}

int ir_parse(struct ir *ir, const char *text, struct error *err)
{
    struct parse p = {.ir = ir, .err = err, .at = text, .line = 1, .block = IR_NO_BLOCK};
    ir_reset(ir, 0, NULL);
    p.value = ir->build->by_ref[0];
    p.block_of = ir->build->by_block[0];
    p.defined = ir->build->by_block[1];
    memset(p.value, 0, IR_MAX_INS * sizeof *p.value);
    memset(p.block_of, 0, IR_MAX_BLOCKS * sizeof *p.block_of);
    memset(p.defined, 0, IR_MAX_BLOCKS * sizeof *p.defined);
    parse_all(&p);
    if (p.failed) {
        ir_reset(ir, 0, NULL);
        return -EINVAL;
    }
    ir->finished = true;
    ir_analyze(ir);
    ir_share_clear(ir);
    if (ir->order_count != ir->block_count)
        return error_set(err, EINVAL, "a block cannot be reached");
    return 0;
}
