/*
 * Physical memory: at LOW the page of the M-mode handler, its table of entries, the page tables,
 * constants, the S-mode handler and the code; at HIGH the data, of which the rest of a superpage is
 * missing.
 *
 * There are SPACES address spaces. Each has one root, one middle and one leaf table, and maps, in
 * the gigabyte at VA: code pages and data pages, for U and for S; the pages of code that may be
 * changed a second time, writable; and for S its own leaf table, the S-mode handler and the
 * constants; in the next 2 MiB the superpage. Which page lies where, and with what permission, is
 * different in each, and changes.
 *
 * Both handlers go on somewhere else, chosen by a linear congruence kept in the scratch register,
 * with fresh pointers. Random code may use all registers but x24 to x28, for which the pointers
 * and constants are that lead to code and page tables:
 *
 *     x24  page of code that may be changed    x25  constants    x26  middle of the leaf table
 *     x27, x28  values of satp
 *
 * Pages that may be changed have no changing code in them, and are never mapped elsewhere: so
 * nothing overwrites the fence that is to follow.
 */
#include "wild.h"
#include "prog.h"

#include "base/bits.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"
#include "isa/riscv64/mmu.h"
#include "isa/riscv64/ops.h"

#include <stdio.h>
#include <stdlib.h>

#define LOW UINT64_C(0x80000000)
#define LOW_PAGES 48u
#define HIGH UINT64_C(0x80200000)
#define HIGH_PAGES 16u

#define M_PAGE LOW
#define ENTRIES (LOW + 0x1000)
#define ENTRY_COUNT 32u
#define ENTRY_SIZE 128u
#define TABLES (LOW + 0x2000) /* three pages for each space */
#define SPACES 3u
#define CONSTANTS (LOW + 0xc000)
#define S_PAGE (LOW + 0xd000)
#define CODE (LOW + 0x10000)
#define PAGES 16u /* of code, and of data */

/* Leaf slots; for S the same plus S_SLOT. */
#define VA UINT64_C(0x2a40000000)
#define SLOT_CODE 0x10u
#define SLOT_DATA 0x20u
#define SLOT_CHANGE 0x30u
#define SLOT_CONSTANTS 0x40u
#define SLOT_LEAF 0x50u
#define SLOT_HANDLER 0x60u
#define S_SLOT 0x100u
#define SUPER (VA + 0x200000)

#define PTE_V 1u
#define PTE_R 2u
#define PTE_W 4u
#define PTE_X 8u
#define PTE_U 16u
#define PTE_G 32u
#define PTE_A 64u
#define PTE_D 128u

#define WFI 0x10500073u
#define SRET 0x10200073u
#define MRET 0x30200073u
#define EBREAK 0x00100073u
#define SFENCE_ALL 0x12000073u

#define STARTS 16384u
#define AHEAD 16u

struct writer {
    struct world *w;
    struct rng *r;
    gpa_t at;
    gpa_t starts[STARTS]; /* of instructions, or of what belongs together */
    unsigned count;
    /* Branches to the start with this number, when that is known; the number 0: none. */
    struct {
        gpa_t at;
        unsigned to;
    } ahead[AHEAD];
};

static uint32_t below(struct writer *g, uint32_t n)
{
    return rng_below(g->r, n);
}

static void put64(struct world *w, gpa_t at, uint64_t value)
{
    uint8_t bytes[8];
    le64_put(bytes, value);
    addrspace_copy_in(w->mem, at, bytes, 8);
}

static void emit(struct writer *g, uint32_t word, unsigned len)
{
    uint8_t bytes[4];
    le32_put(bytes, word);
    addrspace_copy_in(g->w->mem, g->at, bytes, len);
    g->at += len;
}

static void emit4(struct writer *g, uint32_t word)
{
    emit(g, word, 4);
}

/* ---- page tables ---- */

static bool changes(unsigned page)
{
    return page == 5 || page == 9;
}

static gpa_t leaf_of(unsigned space)
{
    return TABLES + (gpa_t)space * 0x3000 + 0x2000;
}

static uint64_t pte(gpa_t page, uint64_t flags)
{
    return page >> 12 << 10 | flags;
}

/* Mostly what lets the program go on. */
static uint64_t random_flags(struct writer *g, uint64_t usual)
{
    switch (below(g, 8)) {
    case 0:
        return usual & ~(UINT64_C(1) << below(g, 8));
    case 1:
        return usual & ~(uint64_t)(PTE_A | PTE_D);
    case 2:
        return usual | PTE_G;
    default:
        return usual;
    }
}

static uint64_t code_pte(struct writer *g, unsigned page, bool user)
{
    return pte(CODE + page * RV_PAGE,
               random_flags(g, PTE_V | PTE_R | PTE_X | PTE_A | PTE_D | (user ? PTE_U : 0)));
}

/* Never executable: changes of data are not followed by fence.i. */
static uint64_t data_pte(struct writer *g, unsigned page, bool user)
{
    return pte(HIGH + page * RV_PAGE,
               random_flags(g, PTE_V | PTE_R | PTE_W | PTE_A | PTE_D | (user ? PTE_U : 0)));
}

static void make_leaves(struct writer *g, unsigned space, bool user)
{
    gpa_t leaf = leaf_of(space) + (user ? 0 : 8 * S_SLOT);
    const uint64_t u = user ? PTE_U : 0;
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned code = changes(i) ? i : i ^ (space & 1);
        if (changes(code) != changes(i))
            code = i;
        put64(g->w, leaf + 8 * (SLOT_CODE + i), code_pte(g, code, user));
        put64(g->w, leaf + 8 * (SLOT_DATA + i), data_pte(g, (i + space) % PAGES, user));
        if (changes(i))
            put64(g->w, leaf + 8 * (SLOT_CHANGE + i),
                  pte(CODE + i * RV_PAGE, PTE_V | PTE_R | PTE_W | PTE_A | PTE_D | u));
    }
    put64(g->w, leaf + 8 * SLOT_CONSTANTS, pte(CONSTANTS, PTE_V | PTE_R | PTE_A | u));
    if (user)
        return;
    put64(g->w, leaf + 8 * SLOT_LEAF, pte(leaf_of(space), PTE_V | PTE_R | PTE_W | PTE_A | PTE_D));
    put64(g->w, leaf + 8 * SLOT_HANDLER, pte(S_PAGE, PTE_V | PTE_R | PTE_X | PTE_A));
}

static void make_tables(struct writer *g)
{
    for (unsigned space = 0; space < SPACES; space++) {
        gpa_t root = TABLES + (gpa_t)space * 0x3000, middle = root + 0x1000;
        put64(g->w, root + 8 * (VA >> 30), pte(middle, PTE_V));
        put64(g->w, middle, pte(leaf_of(space), PTE_V));
        put64(g->w, middle + 8, pte(HIGH, PTE_V | PTE_R | PTE_W | PTE_A | PTE_D));
        make_leaves(g, space, true);
        make_leaves(g, space, false);
    }
}

static uint64_t satp_of(unsigned space)
{
    return (uint64_t)RV_SATP_SV39 << 60 | (uint64_t)(space + 1) << 44 |
           (TABLES + (gpa_t)space * 0x3000) >> 12;
}

/* ---- constants: page-table entries, instructions ---- */

#define CONST_CODE_PTES 0   /* 64 for U and S by turns: what a slot of code may become */
#define CONST_DATA_PTES 512 /* the same for data */
#define CONST_WORDS 1024    /* 64 instructions */
#define CONST_HANDLER 1536  /* what the S-mode handler loads */

static bool reserved(unsigned reg)
{
    return reg >= 24 && reg <= 28;
}

/* Whether random code may contain it. */
static bool is_tame(const struct rv_insn *in)
{
    if (reserved(in->rd) || reserved(in->rs1) || reserved(in->rs2) || reserved(in->rs3))
        return false;
    return !(in->op == RV_OP_AMOCAS_Q && (reserved(in->rd + 1) || reserved(in->rs2 + 1)));
}

static uint32_t random_word(struct writer *g, uint64_t kinds, unsigned len, struct rv_insn *in)
{
    for (;;) {
        unsigned enc = 1 + below(g, RV_ENC_COUNT - 1);
        const struct rv_op_info *info = rv_op_info(rv_enc_info(enc)->op);
        if (!(kinds >> info->kind & 1) || (len && rv_enc_info(enc)->len != len))
            continue;
        uint32_t word = rv_encode_random((uint16_t)enc, rng_next(g->r));
        if (rv_decode(word, RV_EXTS_DEFAULT, in) && is_tame(in))
            return word;
    }
}

#define KIND(ID) (UINT64_C(1) << RV_KIND_##ID)
#define KINDS_ALU (KIND(ALU_RR) | KIND(ALU_RI) | KIND(ALU_R) | KIND(LUI) | KIND(AUIPC))
#define KINDS_MEMORY (KIND(LOAD) | KIND(STORE) | KIND(FLOAD) | KIND(FSTORE))
#define KINDS_ATOMIC (KIND(AMO) | KIND(AMOCAS) | KIND(LR) | KIND(SC))

static unsigned unchanging(struct writer *g)
{
    unsigned page;
    do
        page = below(g, PAGES);
    while (changes(page));
    return page;
}

static void make_constants(struct writer *g)
{
    for (unsigned i = 0; i < 64; i++) {
        struct rv_insn in;
        put64(g->w, CONSTANTS + CONST_CODE_PTES + 8 * i, code_pte(g, unchanging(g), !(i & 1)));
        put64(g->w, CONSTANTS + CONST_DATA_PTES + 8 * i, data_pte(g, below(g, PAGES), !(i & 1)));
        g->at = CONSTANTS + CONST_WORDS + 4 * i;
        emit4(g, below(g, 16) ? random_word(g, KINDS_ALU, 4, &in) : (uint32_t)rng_next(g->r));
    }
}

/* ---- random code ---- */

/* Room for a sequence that may not lie on two pages. */
static void same_page(struct writer *g, unsigned bytes)
{
    while (g->at / RV_PAGE != (g->at + bytes) / RV_PAGE)
        emit(g, ASM_C_NOP, 2);
}

static uint32_t with_rs1(uint32_t word, unsigned reg)
{
    return (word & ~(31u << 15)) | reg << 15;
}

static unsigned pointer(struct writer *g)
{
    return (const unsigned[]){2, 8, 8, 9}[below(g, 4)];
}

static void wild_memory(struct writer *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KINDS_MEMORY, 0, &in);
    emit(g, in.len == 4 && below(g, 16) ? with_rs1(word, pointer(g)) : word, in.len);
}

static void wild_atomic(struct writer *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KINDS_ATOMIC, 4, &in);
    if (below(g, 8)) {
        emit4(g, asm_andi(29, 4 + below(g, 4), 2047 & -16));
        emit4(g, asm_add(29, 29, pointer(g)));
        word = with_rs1(word, 29);
    }
    emit4(g, word);
}

static void wild_csr(struct writer *g)
{
    static const uint16_t csrs[] = {0x001, 0x002, 0x003, 0x100, 0x100, 0x104, 0x106, 0x10a, 0x141,
                                    0x142, 0x143, 0x144, 0xc00, 0xc01, 0xc02, 0x300, 0x7c0};
    struct rv_insn in;
    uint32_t word = random_word(g, KIND(CSR), 4, &in);
    emit4(g, (word & 0xfffff) | (uint32_t)csrs[below(g, ARRAY_SIZE(csrs))] << 20);
    if (below(g, 2)) /* a valid rounding mode again */
        emit4(g, asm_i(0x73, 5, 0, below(g, 5), 2));
}

/* Other address spaces, with and without a fence: their translations differ by number. */
static void wild_space(struct writer *g)
{
    emit4(g, asm_csrw(0x180, 27 + below(g, 2)));
    if (below(g, 2))
        emit4(g, SFENCE_ALL | below(g, 3) % 2 << 20 | (below(g, 2) ? pointer(g) : 0) << 15);
}

static void wild_page_table(struct writer *g)
{
    bool data = below(g, 2), user = below(g, 2);
    unsigned page = data ? below(g, PAGES) : unchanging(g);
    unsigned slot = (data ? SLOT_DATA : SLOT_CODE) + page + (user ? 0 : S_SLOT);
    unsigned from = (data ? CONST_DATA_PTES : CONST_CODE_PTES) + 16 * below(g, 32) + (user ? 0 : 8);
    same_page(g, 12);
    emit4(g, asm_ld(29, 25, (int32_t)from));
    emit4(g, asm_sd(29, 26, (int32_t)(8 * slot) - 2048));
    emit4(g, SFENCE_ALL);
}

static void wild_change(struct writer *g)
{
    same_page(g, 12);
    emit4(g, asm_lw(29, 25, (int32_t)(CONST_WORDS + 4 * below(g, 64))));
    emit4(g, asm_sw(29, 24, (int32_t)(2 * below(g, 1000))));
    emit4(g, ASM_FENCE_I);
}

static void wild_system(struct writer *g)
{
    static const uint32_t words[] = {ASM_ECALL, ASM_ECALL, ASM_ECALL, EBREAK,     SRET,
                                     WFI,       MRET,      0,         0xffffffff, SFENCE_ALL};
    emit4(g, words[below(g, ARRAY_SIZE(words))]);
}

static uint32_t random_branch(struct writer *g, int32_t offset)
{
    static const unsigned conditions[] = {0, 1, 4, 5, 6, 7};
    return asm_branch(conditions[below(g, 6)], below(g, 16), below(g, 16), offset);
}

/* To a place that comes within the next units. */
static void wild_ahead(struct writer *g)
{
    for (unsigned i = 0; i < AHEAD; i++)
        if (!g->ahead[i].to) {
            g->ahead[i].at = g->at;
            g->ahead[i].to = g->count + 1 + below(g, 12);
            break;
        }
    emit4(g, random_branch(g, 4));
}

/* This is start number g->count. */
static void wild_start(struct writer *g)
{
    gpa_t here = g->at;
    for (unsigned i = 0; i < AHEAD; i++)
        if (g->ahead[i].to && g->ahead[i].to <= g->count) {
            g->at = g->ahead[i].at;
            emit4(g, random_branch(g, (int32_t)(here - g->at)));
            g->ahead[i].to = 0;
        }
    g->at = here;
    g->starts[g->count++ % STARTS] = here;
}

/* Distance to one of the last starts. */
static int32_t back(struct writer *g, unsigned most)
{
    unsigned n = 1 + below(g, g->count < most ? g->count : most);
    return (int32_t)(g->starts[(g->count - n) % STARTS] - g->at);
}

static void wild_jump(struct writer *g)
{
    switch (below(g, 16)) {
    case 0:
        emit4(g, asm_jal(below(g, 2), back(g, 200)));
        break;
    case 1: /* anywhere near, or into the middle */
        same_page(g, 8);
        emit4(g, asm_auipc(29, 0));
        emit4(g, asm_jalr(below(g, 2), 29, 2 * (int32_t)below(g, 1000) - 700));
        break;
    case 2: /* a return, from a call or not */
        emit(g, 0x8082, 2);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        emit4(g, random_branch(g, back(g, 40)));
        break;
    default:
        wild_ahead(g);
        break;
    }
}

static void wild_one(struct writer *g)
{
    struct rv_insn in;
    uint32_t word, dice = below(g, 1000);
    bool tame_page = changes((unsigned)((g->at - CODE) / RV_PAGE));
    if (dice < 300) {
        word = random_word(g, KINDS_ALU, 0, &in);
        emit(g, word, in.len);
    } else if (dice < 400) {
        word = random_word(g, KIND(FP), 0, &in);
        emit(g, word, in.len);
    } else if (dice < 700) {
        wild_memory(g);
    } else if (dice < 740) {
        wild_atomic(g);
    } else if (dice < 880) {
        wild_jump(g);
    } else if (dice < 950) {
        wild_csr(g);
    } else if (dice < 960) {
        wild_system(g);
    } else if (dice < 970) {
        wild_space(g);
    } else if (tame_page) {
        emit(g, ASM_C_NOP, 2);
    } else if (dice < 985) {
        wild_change(g);
    } else {
        wild_page_table(g);
    }
}

static void make_code(struct writer *g)
{
    g->at = CODE;
    while (g->at < CODE + PAGES * RV_PAGE - 16) {
        wild_start(g);
        wild_one(g);
    }
}

/* ---- handlers ---- */

static uint64_t slot_va(unsigned slot, bool user)
{
    return VA + (uint64_t)(slot + (user ? 0 : S_SLOT)) * RV_PAGE;
}

static uint64_t random_entry(struct writer *g, bool user)
{
    return slot_va(SLOT_CODE, user) + g->starts[below(g, g->count)] - CODE;
}

/* What an entry of the M-mode handler loads: four CSRs, then registers. */
static void make_entries(struct writer *g)
{
    for (unsigned i = 0; i < ENTRY_COUNT; i++) {
        bool user = below(g, 2);
        uint64_t status = user ? 0 : UINT64_C(1) << RV_MSTATUS_MPP_SHIFT;
        status |= below(g, 4) ? RV_MSTATUS_FS : (uint64_t)below(g, 4) << 13;
        status |= rng_next(g->r) & (RV_MSTATUS_SIE | RV_MSTATUS_SUM | RV_MSTATUS_MXR |
                                    RV_MSTATUS_SPIE | RV_MSTATUS_SPP);
        status |= RV_MSTATUS_MPIE;
        const uint64_t values[] = {
            random_entry(g, user),
            status,
            satp_of(below(g, SPACES)),
            /* Not what the S-mode handler itself may cause: its call, a fetch from nowhere. */
            (below(g, 2) ? rng_next(g->r) : UINT64_MAX) & 0xb1fd,
            slot_va(SLOT_DATA + below(g, PAGES), user) + 8 * below(g, 512),
            slot_va(SLOT_DATA + below(g, PAGES), user) + below(g, 4096),
            user || below(g, 2) ? slot_va(SLOT_DATA + below(g, PAGES), user) + 2048
                                : SUPER + 8 * below(g, 8192),
            slot_va(SLOT_CHANGE + (below(g, 2) ? 5 : 9), user) + 2048 * below(g, 2),
            slot_va(SLOT_CONSTANTS, user),
            slot_va(SLOT_LEAF, false) + 2048,
            satp_of(below(g, SPACES)),
            satp_of(below(g, SPACES)),
        };
        for (unsigned k = 0; k < ARRAY_SIZE(values); k++)
            put64(g->w, ENTRIES + i * ENTRY_SIZE + 8 * k, values[k]);
    }
}

/* a0 = scratch * 5 + an odd constant, kept; a1 = five bits of it. */
static void emit_choose(struct writer *g, unsigned scratch)
{
    emit4(g, asm_csrr(10, scratch));
    emit4(g, asm_slli(11, 10, 2));
    emit4(g, asm_add(10, 10, 11));
    emit4(g, asm_addi(10, 10, 1237));
    emit4(g, asm_csrw(scratch, 10));
    emit4(g, asm_srli(11, 10, 23));
    emit4(g, asm_andi(11, 11, ENTRY_COUNT - 1));
}

/* An interrupt may have come between a change and its fence. */
static void emit_fence_interrupt(struct writer *g, unsigned cause)
{
    emit4(g, asm_csrr(10, cause));
    emit4(g, asm_branch(5, 10, 0, 12));
    emit4(g, SFENCE_ALL);
    emit4(g, ASM_FENCE_I);
}

static void make_m_handler(struct writer *g)
{
    g->at = M_PAGE;
    emit_fence_interrupt(g, 0x342);
    emit_choose(g, 0x340);
    emit4(g, asm_slli(11, 11, 7));
    emit4(g, asm_lui(12, (uint32_t)(ENTRIES >> 12)));
    emit4(g, asm_slli(12, 12, 32)); /* lui has extended the sign */
    emit4(g, asm_srli(12, 12, 32));
    emit4(g, asm_add(11, 11, 12));
    static const unsigned csrs[] = {0x341, 0x300, 0x180, 0x302};
    for (unsigned i = 0; i < ARRAY_SIZE(csrs); i++) {
        emit4(g, asm_ld(12, 11, 8 * (int32_t)i));
        emit4(g, asm_csrw(csrs[i], 12));
    }
    static const unsigned pointers[] = {2, 8, 9, 24, 25, 26, 27, 28};
    for (unsigned i = 0; i < ARRAY_SIZE(pointers); i++)
        emit4(g, asm_ld(pointers[i], 11, 32 + 8 * (int32_t)i));
    emit4(g, MRET);
}

/*
 * By the number: on behind the instruction, again at it (sret as it is), to the entry that the
 * constants name, or a call of M-mode.
 */
static void make_s_handler(struct writer *g)
{
    g->at = S_PAGE;
    emit_fence_interrupt(g, 0x142);
    emit_choose(g, 0x140);
    emit4(g, asm_andi(12, 11, 3));
    emit4(g, asm_branch(0, 12, 0, 20)); /* 0: call */
    emit4(g, asm_csrr(12, 0x141));
    emit4(g, asm_addi(12, 12, 4));
    emit4(g, asm_csrw(0x141, 12));
    emit4(g, SRET);
    emit4(g, ASM_ECALL);
    emit4(g, asm_jal(0, -4));
}

/* ---- the world ---- */

static uint64_t world_time(void *ctx)
{
    const struct vcpu *v = ctx;
    return *v->engine->icount(v) / 100;
}

static void world_stimecmp_changed(struct rv_hart *h)
{
    (void)h;
}

static void world_check(int failed, const struct error *err)
{
    if (failed) {
        printf("cannot make a machine: %s\n", err->msg);
        abort();
    }
}

static void world_hart(struct world *w, struct rng *r)
{
    struct rv_hart *h = &w->hart;
    h->exts = rv_exts_closure(RV_EXTS_DEFAULT);
    h->satp_max = RV_SATP_SV39;
    h->env = (struct rv_hart_env){
        .time = world_time, .stimecmp_changed = world_stimecmp_changed, .ctx = &w->vcpu};
    h->irq_lines = &w->vcpu.irq_lines;
    rv_hart_reset(h, M_PAGE);
    h->mtvec = M_PAGE;
    h->stvec = slot_va(SLOT_HANDLER, false);
    h->mideleg = (1u << RV_IRQ_STI | 1u << RV_IRQ_SEI | 1u << RV_IRQ_SSI) & rng_next(r);
    h->mie = 1u << RV_IRQ_MTI | 1u << RV_IRQ_STI | 1u << RV_IRQ_SEI | 1u << RV_IRQ_SSI;
    h->mscratch = rng_next(r);
    h->sscratch = rng_next(r);
    h->mcounteren = h->scounteren = 7;
    if (rng_next(r) & 1)
        h->menvcfg |= RV_ENVCFG_ADUE;
    for (unsigned i = 1; i < 32; i++) {
        h->x[i] = rng_next(r) >> (rng_next(r) & 63);
        h->f[i] = rng_next(r);
    }
    h->pmpaddr[0] = (LOW >> 2) | 0x3ff; /* the handler's two pages are M-mode's */
    h->pmpcfg[0] = 0x18;
    h->pmpaddr[1] = UINT64_MAX >> 10;
    h->pmpcfg[1] = 0x1f;
    rv_pmp_changed(h);
    rv_hart_view_changed(h);
}

struct world *world_new(const struct engine_ops *engine, uint64_t seed)
{
    struct error err = {0};
    struct rng r = {seed};
    struct world *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->engine = engine;
    w->mem = addrspace_new(&err);
    world_check(!w->mem, &err);
    world_check(addrspace_add_ram(w->mem, LOW, LOW_PAGES * RV_PAGE, &err), &err);
    world_check(addrspace_add_ram(w->mem, HIGH, HIGH_PAGES * RV_PAGE, &err), &err);
    clock_init(&w->clock, true);
    vcpu_init(&w->vcpu, 0, w->mem, &w->clock);
    w->vcpu.arch = &w->hart;
    w->vcpu.engine = engine;
    struct writer *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    g->w = w;
    g->r = &r;
    make_tables(g);
    make_constants(g);
    make_code(g);
    make_entries(g);
    make_m_handler(g);
    make_s_handler(g);
    free(g);
    world_hart(w, &r);
    world_check(engine->attach(&w->vcpu, &err), &err);
    return w;
}

void world_free(struct world *w)
{
    w->engine->detach(&w->vcpu);
    clock_fini(&w->clock);
    addrspace_free(w->mem);
    free(w);
}

/* Instructions between two looks at the interrupts; engines step through the last 2000 or so. */
#define PERIOD 12007u

/* The inputs between two looks depend on nothing but the time. */
static void world_interrupts(struct vcpu *v, uint64_t period)
{
    struct rng r = rng_part(1, period);
    static const unsigned lines[] = {RV_IRQ_MTI, RV_IRQ_STI, RV_IRQ_SEI};
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        vcpu_irq_set(v, lines[i], !rng_below(&r, 12));
}

enum vcpu_exit world_run(struct vcpu *v, uint64_t max_insns, const struct engine_ops *engine)
{
    const uint64_t *count = engine->icount(v);
    const uint64_t end = max_insns > UINT64_MAX - *count ? UINT64_MAX : *count + max_insns;
    while (*count < end) {
        uint64_t period = *count / PERIOD, stop = (period + 1) * PERIOD;
        world_interrupts(v, period);
        enum vcpu_exit exit = engine->run(v, (stop < end ? stop : end) - *count);
        if (exit != VCPU_EXIT_LIMIT && exit != VCPU_EXIT_KICK)
            return exit;
    }
    return VCPU_EXIT_LIMIT;
}

void world_print(const struct world *w)
{
    uint8_t bytes[4] = {0};
    uint64_t gpa;
    char text[80];
    if (!rv_translate_debug(&w->hart, w->hart.pc, &gpa) ||
        !addrspace_copy_out(w->mem, gpa, bytes, 2)) {
        printf("no instruction at %lx\n", (unsigned long)w->hart.pc);
        return;
    }
    if ((bytes[0] & 3) == 3 && rv_translate_debug(&w->hart, w->hart.pc + 2, &gpa))
        addrspace_copy_out(w->mem, gpa, bytes + 2, 2);
    rv_disasm(le32_get(bytes), w->hart.pc, w->hart.exts, text, sizeof text);
    printf("privilege %u, pc %lx: %s\n", w->hart.priv, (unsigned long)w->hart.pc, text);
}
