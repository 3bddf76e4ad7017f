/*
 * Which instructions a region consists of: follows the code from the entry and finds the blocks.
 *
 * What has never run is left out, so the limits (instructions in all, in each inlined call, depth
 * of calls, pages) are met by what does run. A call is looked through first, to see whether it is
 * one of those that are inlined. Time is linear in what is scanned.
 */
#include "engine/dbt/front_impl.h"

#include "base/bits.h"

#define MAX_CALL_DEPTH 3u
#define MAX_CALL_INSNS 128u /* with those of the calls in it */

/* ---- pages and places ---- */

/* Index of the page that holds pc, front.pages if there is none. `middle` as for front_input.more.
 */
static unsigned scan_page_for(struct front *f, uint64_t pc, bool middle)
{
    unsigned i = 0;
    while (i < f->pages && f->page[i].va != align_down(pc, FRONT_PAGE))
        i++;
    if (i == f->pages && i < FRONT_PAGES && f->in->more &&
        f->in->more(f->in->ctx, pc, middle, &f->page[i]))
        f->pages++;
    return i;
}

static unsigned scan_page(struct front *f, uint64_t pc)
{
    return scan_page_for(f, pc, false);
}

bool front_has_page(struct front *f, uint64_t pc)
{
    return scan_page(f, pc) < f->pages;
}

/* The spot of a place, NULL: it is on no page at hand. */
static struct front_spot *scan_spot(struct front *f, unsigned context, uint64_t pc)
{
    unsigned page = scan_page(f, pc);
    if (page == f->pages)
        return NULL;
    uint32_t key = (context << 16 | page << 12 | (uint32_t)(pc % FRONT_PAGE)) + 1;
    unsigned i = key * 0x9e3779b1u >> 16 & (FRONT_SPOTS - 1);
    while (f->spots[i].key && f->spots[i].key != key)
        i = (i + 1) & (FRONT_SPOTS - 1);
    if (!f->spots[i].key)
        f->spots[i] = (struct front_spot){.key = key, .block = FRONT_NO_BLOCK};
    return &f->spots[i];
}

bool front_seen(struct front *f, unsigned context, uint64_t pc)
{
    const struct front_spot *s = scan_spot(f, context, pc);
    return s && s->seen;
}

/* A block may have been found that turned out not to begin with anything that compiles. */
struct front_block *front_block_at(struct front *f, unsigned context, uint64_t pc)
{
    const struct front_spot *s = scan_spot(f, context, pc);
    return s && s->seen && s->block != FRONT_NO_BLOCK ? &f->blocks[s->block] : NULL;
}

/* The entry is wanted in any case. */
static bool has_run(struct front *f, uint64_t pc)
{
    unsigned i = scan_page(f, pc), offset = (unsigned)(pc % FRONT_PAGE);
    if (i == f->pages)
        return false;
    return !f->page[i].executed || pc == f->page[0].va + f->in->entry ||
           (f->page[i].executed[offset / 128] >> offset / 2 % 64 & 1);
}

bool front_decode(struct front *f, uint64_t pc, struct rv_insn *out, uint32_t *bits)
{
    unsigned i = scan_page(f, pc), offset = (unsigned)(pc % FRONT_PAGE);
    if (i == f->pages)
        return false;
    uint32_t word = le16_get(f->page[i].bytes + offset);
    if (rv_insn_len((uint16_t)word) == 4) {
        unsigned second = scan_page_for(f, pc + 2, true);
        if (second == f->pages)
            return false;
        word |= (uint32_t)le16_get(f->page[second].bytes + (pc + 2) % FRONT_PAGE) << 16;
    }
    if (bits)
        *bits = word;
    return rv_decode(word, f->in->exts, out);
}

/* ---- instructions ---- */

bool front_ends_block(const struct rv_insn *in)
{
    switch (rv_op_info(in->op)->kind) {
    case RV_KIND_BRANCH:
    case RV_KIND_JAL:
    case RV_KIND_JALR:
        return true;
    default:
        return false;
    }
}

/* x1 and x5 hold return addresses by convention (volume I, 2.5.1). */
static bool scan_is_link(unsigned r)
{
    return r == 1 || r == 5;
}

bool front_is_return(const struct rv_insn *in)
{
    return in->op == RV_OP_JALR && !in->rd && scan_is_link(in->rs1) && !in->imm;
}

static bool scan_uses_fp(const struct rv_insn *in)
{
    switch (rv_op_info(in->op)->kind) {
    case RV_KIND_FLOAD:
    case RV_KIND_FSTORE:
    case RV_KIND_FP:
        return true;
    case RV_KIND_CSR:
        return front_csr_uses_fp(in);
    default:
        return false;
    }
}

/* The slots that an instruction may write; too many do no harm. */
static void scan_writes(struct front *f, const struct rv_insn *in)
{
    _Static_assert(FRONT_SLOT_F == 32 && FRONT_SLOT_CSR == 64, "the words of the mask");
    f->writes[0] |= UINT64_C(1) << in->rd;
    if (scan_uses_fp(in))
        f->writes[0] |= UINT64_C(1) << (FRONT_SLOT_F + in->rd);
    if (rv_op_info(in->op)->kind == RV_KIND_CSR)
        f->writes[1] = UINT64_MAX;
}

/* ---- what there is ---- */

static bool scan_add(struct front *f, unsigned context, uint64_t pc)
{
    struct front_spot *s = has_run(f, pc) ? scan_spot(f, context, pc) : NULL;
    if (!s)
        return false;
    if (s->block != FRONT_NO_BLOCK)
        return true;
    if (f->count == FRONT_MAX_BLOCKS)
        return false;
    s->block = (uint16_t)f->count;
    f->blocks[f->count++] = (struct front_block){.pc = pc, .context = (uint16_t)context};
    return true;
}

unsigned front_call_context(const struct front *f, unsigned context, uint64_t return_pc)
{
    for (unsigned i = 1; i < f->context_count; i++)
        if (f->contexts[i].parent == context && f->contexts[i].return_pc == return_pc)
            return i;
    return 0;
}

/* ---- calls ---- */

/* What a call executes, as far as it has been looked through. */
struct scan_callee {
    uint64_t seen[MAX_CALL_INSNS];
    uint64_t todo[MAX_CALL_INSNS];
    unsigned count, todo_count;
    bool returns;
};

static bool scan_callee_seen(const struct scan_callee *c, uint64_t pc)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->seen[i] == pc)
            return true;
    return false;
}

static bool scan_fits(struct front *f, uint64_t pc, unsigned depth, unsigned *room);

/* Where the end of a block leads. False: to where an inlined call must not. */
static bool scan_callee_transfer(struct front *f, struct scan_callee *c, uint64_t pc,
                                 const struct rv_insn *in, unsigned depth, unsigned *room)
{
    uint64_t target = pc + (uint64_t)(int64_t)in->imm;
    if (rv_op_info(in->op)->kind == RV_KIND_BRANCH) {
        c->todo[c->todo_count++] = pc + in->len;
        c->todo[c->todo_count++] = target;
        return true;
    }
    if (in->op == RV_OP_JALR) {
        c->returns = true;
        return front_is_return(in);
    }
    /* The deepest calls leave the region: those of a function that calls itself, above all. */
    bool deeper = in->rd && depth < MAX_CALL_DEPTH;
    if (in->rd && !scan_is_link(in->rd))
        return false;
    if (deeper && !scan_fits(f, target, depth + 1, room))
        return false;
    c->todo[c->todo_count++] = in->rd ? pc + in->len : target;
    return true;
}

/* The instructions from pc to the end of their block. */
static bool scan_callee_block(struct front *f, struct scan_callee *c, uint64_t pc, unsigned depth,
                              unsigned *room)
{
    struct rv_insn in;
    for (; has_run(f, pc) && !scan_callee_seen(c, pc); pc += in.len) {
        if (!*room || c->todo_count + 2 > MAX_CALL_INSNS || !front_decode(f, pc, &in, NULL) ||
            !front_compiles(f, &in))
            return false;
        --*room;
        c->seen[c->count++] = pc;
        if (front_ends_block(&in))
            return scan_callee_transfer(f, c, pc, &in, depth, room);
    }
    return true;
}

/*
 * Whether all that has run of a function can be inlined: no more than `room` instructions, calls
 * included, which do nothing but return or call deeper than MAX_CALL_DEPTH.
 */
static bool scan_fits(struct front *f, uint64_t pc, unsigned depth, unsigned *room)
{
    struct scan_callee c = {.todo = {pc}, .todo_count = 1};
    if (depth > MAX_CALL_DEPTH)
        return false;
    while (c.todo_count)
        if (!scan_callee_block(f, &c, c.todo[--c.todo_count], depth, room))
            return false;
    return c.returns;
}

/* A small function becomes part of the region, and what comes after the call. */
static bool scan_inline(struct front *f, unsigned context, uint64_t target, uint64_t return_pc)
{
    unsigned depth = f->contexts[context].depth + 1u, n = f->context_count;
    unsigned room = MAX_CALL_INSNS;
    if (n == FRONT_MAX_CONTEXTS || f->count + 2 > FRONT_MAX_BLOCKS ||
        !scan_fits(f, target, depth, &room) || !scan_add(f, n, target))
        return false;
    f->contexts[f->context_count++] = (struct front_context){
        .return_pc = return_pc, .parent = (uint16_t)context, .depth = (uint8_t)depth};
    scan_add(f, context, return_pc);
    return true;
}

static bool scan_is_wanted(const struct front *f, uint64_t pc)
{
    for (unsigned i = 0; i < f->entry_count; i++)
        if (f->entries[i] == pc)
            return false;
    if (pc == f->blocks[0].pc)
        return false;
    if (f->in->wanted)
        return f->in->wanted(f->in->ctx, pc);
    for (unsigned i = 0; i < f->in->entry_count; i++)
        if (f->in->entries[i] == pc)
            return true;
    return false;
}

/* The region is left here, and goes on at pc when what is elsewhere has been done. */
static void scan_entry(struct front *f, unsigned context, uint64_t pc)
{
    if (!context && f->entry_count < FRONT_MAX_ENTRIES && has_run(f, pc) && scan_is_wanted(f, pc) &&
        scan_add(f, context, pc))
        f->entries[f->entry_count++] = pc;
}

/* ---- blocks ---- */

static void scan_transfer(struct front *f, unsigned context, uint64_t pc, const struct rv_insn *in)
{
    uint64_t next = pc + in->len, target = pc + (uint64_t)(int64_t)in->imm;
    if (rv_op_info(in->op)->kind == RV_KIND_BRANCH) {
        scan_add(f, context, next);
        scan_add(f, context, target);
    } else if (in->op == RV_OP_JAL && !in->rd) {
        scan_add(f, context, target);
    } else if (scan_is_link(in->rd)) {
        if (in->op != RV_OP_JAL || !scan_inline(f, context, target, next))
            scan_entry(f, context, next);
    }
}

/* Whether the limits allow another instruction in the context. */
static bool scan_has_room(const struct front *f, unsigned context)
{
    return f->info->insns < FRONT_MAX_INSNS &&
           (!context || f->contexts[context].insns < MAX_CALL_INSNS);
}

/* Walks one block; adds what it leads to. */
static void scan_block(struct front *f, unsigned index)
{
    uint64_t pc = f->blocks[index].pc;
    unsigned context = f->blocks[index].context;
    while (scan_has_room(f, context)) {
        struct rv_insn in;
        struct front_spot *s = scan_spot(f, context, pc);
        if (!s)
            break;
        if (s->seen) {
            scan_add(f, context, pc); /* runs into code that is known: split there */
            break;
        }
        if (!has_run(f, pc) || !front_decode(f, pc, &in, NULL))
            break;
        if (!front_compiles(f, &in)) {
            scan_entry(f, context, pc + in.len);
            break;
        }
        s->seen = true;
        f->info->insns++;
        f->contexts[context].insns++;
        f->info->uses_fp |= scan_uses_fp(&in);
        scan_writes(f, &in);
        if (front_ends_block(&in)) {
            scan_transfer(f, context, pc, &in);
            break;
        }
        pc += in.len;
    }
}

void front_scan(struct front *f)
{
    f->pages = f->in->pages;
    memcpy(f->page, f->in->page, f->pages * sizeof f->page[0]);
    f->count = 0;
    f->entry_count = 0;
    f->context_count = 1;
    f->contexts[0] = (struct front_context){0};
    f->writes[0] = f->writes[1] = 0;
    memset(f->spots, 0, sizeof f->spots);
    scan_add(f, 0, f->page[0].va + f->in->entry);
    for (unsigned i = 0; i < f->count; i++)
        scan_block(f, i);
}

void front_pages(struct front_input *in)
{
    struct front f;
    struct front_info info = {0};
    f.in = in;
    f.info = &info;
    front_scan(&f);
    memcpy(in->page, f.page, f.pages * sizeof f.page[0]);
    in->pages = f.pages;
    memcpy(in->entries, f.entries, sizeof in->entries);
    in->entry_count = f.entry_count;
}
