/*
 * Makes selects of short branches: a host guesses half of the branches on data wrongly, and each
 * wrong guess costs more than both sides.
 *
 *        A              A ends with a branch to B and C, or (a triangle) to B and J. B and C have
 * no / \             other predecessor, and hold a few cheap values and COUNTs only. Their values
 *      B   C            move to the end of A, what J's PHIs had from them become SELECTs, and their
 *       \ /             COUNTs one COUNT_IF. A jumps to J then.
 *        J
 *
 * The comparison comes after the values and right before the SELECTs, so that all of them find it
 * in the host's flags. Inner branches come first. Branches with a hint are left alone, and those
 * that choose an address: behind a guessed branch the access begins early, behind a SELECT it waits
 * for the comparison, and so does what follows it.
 */
#include "ir/impl.h"

#define IFCONV_MAX_VALUES 2
#define IFCONV_MAX_SELECTS 2
#define IFCONV_MAX_COUNT (1 << 16)

struct ifconv {
    struct ir *ir;
    const uint32_t *address; /* by ref: whether an access is at a place made of it */
    uint32_t a, join;
    uint32_t arm[2]; /* of the branch's successors: the block, IR_NO_BLOCK: it leads to J at once */
    uint32_t pred[2]; /* J's predecessor on this way */
    int64_t count[2];
    unsigned values;
};

/* What a host does in about one instruction. */
static bool ifconv_is_cheap(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_ADD:
    case IR_SUB:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ANDN:
    case IR_ADDX2:
    case IR_ADDX4:
    case IR_ADDX8:
    case IR_NOT:
    case IR_NEG:
    case IR_SEXT8:
    case IR_SEXT16:
    case IR_ZEXT8:
    case IR_ZEXT16:
    case IR_SEXT32:
    case IR_ZEXT32:
        return true;
    default:
        return false;
    }
}

static bool ifconv_is_free(const struct ir_ins *ins)
{
    return ins->op == IR_XEXT32 || ins->op == IR_TRUNC32;
}

/* Adds up what a block holds; false: not something to do always. */
static bool ifconv_take_arm(struct ifconv *c, unsigned way, uint32_t block)
{
    const struct ir *ir = c->ir;
    IR_EACH_INS(ir, block, r)
    {
        const struct ir_ins *ins = &ir->ins[r];
        if (ins->op == IR_COUNT)
            c->count[way] += ins->imm;
        else if (ifconv_is_cheap(ins))
            c->values++;
        else if (ins->op != IR_JUMP && !ifconv_is_free(ins))
            return false;
    }
    c->arm[way] = c->pred[way] = block;
    return c->values <= IFCONV_MAX_VALUES && c->count[way] <= IFCONV_MAX_COUNT;
}

/* Whether a block has one way in and one way out. */
static bool ifconv_is_arm(const struct ir *ir, uint32_t block)
{
    const struct ir_block *b = &ir->block[block];
    return b->pred_count == 1 && ir->ins[b->last].op == IR_JUMP;
}

static bool ifconv_find(struct ifconv *c)
{
    const struct ir *ir = c->ir;
    const uint32_t *succ = ir->block[c->a].succ;
    bool arm[2] = {ifconv_is_arm(ir, succ[0]), ifconv_is_arm(ir, succ[1])};
    uint32_t join[2] = {ir->block[succ[0]].succ[0], ir->block[succ[1]].succ[0]};
    if (arm[0] && arm[1] && join[0] == join[1])
        c->join = join[0];
    else if (arm[0] && join[0] == succ[1])
        c->join = succ[1];
    else if (arm[1] && join[1] == succ[0])
        c->join = succ[0];
    else
        return false;
    for (unsigned way = 0; way < 2; way++)
        if (succ[way] != c->join && !ifconv_take_arm(c, way, succ[way]))
            return false;
    return c->join != c->a;
}

static ir_ref ifconv_phi_arg(const struct ifconv *c, ir_ref phi, unsigned way)
{
    const uint32_t *pred = ir_preds(c->ir, c->join);
    uint32_t j = 0;
    while (pred[j] != c->pred[way])
        j++;
    return ir_phi_args(c->ir, phi)[j];
}

/* What of a value, if it is an address, is an address as well. */
static void ifconv_mark_parts(const struct ir *ir, ir_ref r, uint32_t *address)
{
    const struct ir_ins *ins = &ir->ins[r];
    switch (ins->op) {
    case IR_PHI:
        for (uint32_t j = 0; j < ir->block[ins->block].pred_count; j++)
            address[ir_phi_args(ir, r)[j]] = 1;
        break;
    case IR_SELECT:
        address[ins->arg[2]] = address[ins->arg[1]] = 1;
        break;
    case IR_ADD:
    case IR_SUB:
    case IR_ADDX2:
    case IR_ADDX4:
    case IR_ADDX8:
        address[ins->arg[1]] = 1;
        __attribute__((fallthrough));
    case IR_SHL:
    case IR_SEXT32:
    case IR_ZEXT32:
    case IR_XEXT32:
    case IR_TRUNC32:
        address[ins->arg[0]] = 1;
        break;
    default:
        break;
    }
}

/* From uses to definitions; a second time for what goes round loops. */
static void ifconv_find_addresses(const struct ir *ir, uint32_t *address)
{
    memset(address, 0, ir->ins_count * sizeof *address);
    for (uint32_t n = 2 * ir->order_count; n-- > 0;) {
        uint32_t block = ir->order[n % ir->order_count];
        for (ir_ref r = ir->block[block].last; r; r = ir->ins[r].prev) {
            if (ir_flags(&ir->ins[r]) & (IR_F_MEM | IR_F_STORE))
                address[ir->ins[r].arg[0]] = 1;
            else if (address[r])
                ifconv_mark_parts(ir, r, address);
        }
    }
}

/* Whether the PHIs want few SELECTs, of integers that are no addresses. */
static bool ifconv_selects_fit(const struct ifconv *c)
{
    const struct ir *ir = c->ir;
    unsigned selects = 0;
    for (ir_ref r = ir->block[c->join].first; ir->ins[r].op == IR_PHI; r = ir->ins[r].next) {
        if (ifconv_phi_arg(c, r, 0) == ifconv_phi_arg(c, r, 1))
            continue;
        if (!ir_is_int(ir->ins[r].type) || c->address[r])
            return false;
        selects++;
    }
    return selects <= IFCONV_MAX_SELECTS;
}

/* Moves the values of an arm to before the branch; the arm is empty then. */
static void ifconv_empty_arm(struct ir *ir, uint32_t block, ir_ref branch)
{
    for (ir_ref r = ir->block[block].first, next; r; r = next) {
        next = ir->ins[r].next;
        if (ir_flags(&ir->ins[r]) & IR_F_PURE) {
            ir_unlink(ir, r);
            ir_link_before(ir, branch, r);
        } else {
            ir_replace(ir, r, 0);
        }
    }
    ir->block[block].succ_count = ir->block[block].pred_count = 0;
}

/* The comparison goes, or if others want it a copy of it, to before the branch. */
static ir_ref ifconv_place_condition(struct ir *ir, ir_ref cond, ir_ref branch)
{
    const struct ir_ins *old = &ir->ins[cond];
    if (old->uses == 1) {
        ir_unlink(ir, cond);
    } else {
        ir_ref copy = ir_ins_new(ir, old->op, IR_I1);
        if (!copy)
            return 0;
        ir->ins[copy].arg[0] = old->arg[0];
        ir->ins[copy].arg[1] = old->arg[1];
        cond = copy;
    }
    ir_link_before(ir, branch, cond);
    ir->ins[cond].uses = UINT16_MAX;
    return cond;
}

static void ifconv_select(struct ifconv *c, ir_ref cond)
{
    struct ir *ir = c->ir;
    uint32_t kept = 0;
    while (ir_preds(ir, c->join)[kept] != c->pred[0])
        kept++;
    for (ir_ref r = ir->block[c->join].first; ir->ins[r].op == IR_PHI; r = ir->ins[r].next) {
        ir_ref yes = ifconv_phi_arg(c, r, 0), no = ifconv_phi_arg(c, r, 1);
        ir_ref select = ir_select(ir, cond, yes, no);
        if (ir->overflow)
            return;
        ir->phi_arg[ir->ins[r].arg[0] + kept] = select;
    }
}

/* The way from A to J by pred[0] becomes A's only one. */
static void ifconv_join(struct ifconv *c)
{
    struct ir *ir = c->ir;
    struct ir_block *a = &ir->block[c->a];
    uint32_t *pred = ir->pred + ir->block[c->join].pred_first;
    ir_edge_remove(ir, c->pred[1], c->join);
    while (*pred != c->pred[0])
        pred++;
    *pred = c->a;
    a->succ[0] = c->join;
    a->succ_count = 1;
    ir->ins[a->last].op = IR_JUMP;
    ir->ins[a->last].arg[0] = 0;
}

/* One instruction for what both ways count, and A before them. */
static void ifconv_count(struct ifconv *c, ir_ref cond, ir_ref before, ir_ref branch)
{
    struct ir *ir = c->ir;
    if (c->count[0] == c->count[1] && !c->count[0])
        return;
    if (ir->ins[before].op == IR_COUNT && ir->ins[before].imm <= IFCONV_MAX_COUNT) {
        c->count[0] += ir->ins[before].imm;
        c->count[1] += ir->ins[before].imm;
        ir_replace(ir, before, 0);
    }
    bool same = c->count[0] == c->count[1];
    ir_ref r = ir_ins_new(ir, same ? IR_COUNT : IR_COUNT_IF, IR_VOID);
    if (!r)
        return;
    ir->ins[r].imm = same ? c->count[0] : ir_count_if_imm(c->count[0], c->count[1]);
    ir->ins[r].arg[0] = same ? 0 : cond;
    ir_link_before(ir, branch, r);
}

static void ifconv_convert(struct ifconv *c)
{
    struct ir *ir = c->ir;
    ir_ref branch = ir->block[c->a].last, before = ir->ins[branch].prev;
    if (before == ir->ins[branch].arg[0])
        before = ir->ins[before].prev;
    for (unsigned way = 0; way < 2; way++)
        if (c->arm[way] != IR_NO_BLOCK)
            ifconv_empty_arm(ir, c->arm[way], branch);
    ir_ref cond = ifconv_place_condition(ir, ir->ins[branch].arg[0], branch);
    if (!cond)
        return;
    ir->current = c->a;
    ir->build->insert_before = branch;
    ifconv_select(c, cond);
    ifconv_count(c, cond, before, branch);
    if (!ir->overflow)
        ifconv_join(c);
}

static bool ifconv_block(struct ir *ir, uint32_t block, const uint32_t *address)
{
    const struct ir_ins *last = &ir->ins[ir->block[block].last];
    struct ifconv c = {.ir = ir,
                       .address = address,
                       .a = block,
                       .arm = {IR_NO_BLOCK, IR_NO_BLOCK},
                       .pred = {block, block}};
    if (last->op != IR_BRANCH || last->aux != IR_BRANCH_NONE ||
        !ir_is_compare(ir->ins[last->arg[0]].op) || !ifconv_find(&c) || !ifconv_selects_fit(&c))
        return false;
    ifconv_convert(&c);
    return true;
}

void ir_pass_ifconv(struct ir *ir)
{
    bool any = false;
    uint32_t *address = ir->build->by_ref[0];
    ir_count_uses(ir);
    ifconv_find_addresses(ir, address);
    ir_share_clear(ir);
    for (uint32_t i = ir->order_count; i-- > 0 && !ir->overflow;)
        any |= ifconv_block(ir, ir->order[i], address);
    if (!ir->overflow)
        ir_settle(ir, any);
}
