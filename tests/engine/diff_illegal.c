/*
 * What must trap: words that are no instruction, privileged instructions in U-mode, CSRs that do
 * not exist or are not for U-mode, rounding modes that are reserved. The program catches the
 * signal after each word and notes its number; both sides must note the same.
 */
#include "diff.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_WORDS 16384
#define NOTES 4096 /* offset in the data; the page before it is the stack */

struct words {
    struct diff *diff;
    const char *name;
    struct prog prog;
    struct {
        uint32_t word;
        uint32_t frm;
        uint64_t pc;
    } list[MAX_WORDS];
    unsigned count, batch;
};

static void words_differ(void *ctx, const struct engine_ops *engine, const uint8_t *peer,
                         const uint8_t *ours)
{
    struct words *w = ctx;
    unsigned shown = 0;
    (void)engine;
    for (unsigned i = 0; i < w->count && shown < 20; i++) {
        if (peer[NOTES + i] == ours[NOTES + i])
            continue;
        shown++;
        printf("    frm %u, signal of the peer %u, ours %u:\n", w->list[i].frm, peer[NOTES + i],
               ours[NOTES + i]);
        prog_print(&w->prog, w->list[i].pc, 1, w->list[i].pc);
    }
    if (!shown)
        printf("    other memory changed\n");
}

static void emit_word(struct words *w, unsigned i)
{
    struct prog *p = &w->prog;
    unsigned len = rv_insn_len((uint16_t)w->list[i].word);
    prog_emit(p, asm_i(0x73, 5, 0, w->list[i].frm, 2), 4); /* csrrwi frm */
    prog_li(p, PROG_SIGNAL_REG, 0);
    prog_emit(p, asm_auipc(PROG_RESUME_REG, 0), 4);
    prog_emit(p, asm_addi(PROG_RESUME_REG, PROG_RESUME_REG, 8 + (int32_t)len), 4);
    w->list[i].pc = prog_pc(p);
    prog_emit(p, w->list[i].word, len);
    prog_li(p, 5, (int32_t)(PROG_DATA + NOTES + i));
    prog_emit(p, asm_sb(PROG_SIGNAL_REG, 5, 0), 4);
}

static void words_flush(struct words *w)
{
    struct prog *p = &w->prog;
    char name[64];
    struct rng unused;
    snprintf(name, sizeof name, "%s/%u", w->name, w->batch++);
    if (w->count && diff_part(w->diff, name, &unused)) {
        prog_init(p, NOTES + MAX_WORDS);
        prog_li(p, 2, (int32_t)(PROG_DATA + NOTES));
        prog_catch(p);
        for (unsigned i = 0; i < w->count; i++)
            emit_word(w, i);
        /* What signals left on the stack is no result. */
        prog_li(p, 5, (int32_t)PROG_DATA);
        prog_li(p, 6, (int32_t)(PROG_DATA + NOTES));
        prog_emit(p, asm_sd(0, 5, 0), 4);
        prog_emit(p, asm_addi(5, 5, 8), 4);
        prog_emit(p, asm_branch(1, 5, 6, -8), 4);
        prog_exit(p);
        w->diff->cases += w->count;
        diff_run(w->diff, name, p, words_differ, w);
        prog_fini(p);
    }
    w->count = 0;
}

static void words_add(struct words *w, uint32_t word, uint32_t frm)
{
    if (diff_accepted_word(word))
        return;
    if (w->count == MAX_WORDS)
        words_flush(w);
    w->list[w->count].word = word;
    w->list[w->count++].frm = frm;
}

static void add_if_illegal(struct words *w, uint32_t word)
{
    struct rv_insn in;
    if (!rv_decode(word, RV_EXTS_DEFAULT, &in))
        words_add(w, word, 0);
}

/* ---- which words ---- */

static void add_halves(struct words *w)
{
    for (uint32_t half = 0; half < 65536; half++)
        if ((half & 3) != 3)
            add_if_illegal(w, half);
}

/* A few bits away from legal ones, and anything. */
static void add_random(struct words *w, struct rng *r, unsigned scale)
{
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++)
        for (unsigned i = 0; i < 12 * scale && rv_enc_info(enc)->len == 4; i++) {
            uint32_t word = rv_encode_random(enc, rng_next(r));
            for (unsigned flips = 1 + i % 3; flips; flips--)
                word ^= UINT32_C(4) << rng_below(r, 30);
            add_if_illegal(w, word);
        }
    for (unsigned i = 0; i < 2000 * scale; i++)
        add_if_illegal(w, (uint32_t)rng_next(r) | 3);
}

static void add_privileged(struct words *w, struct rng *r)
{
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++) {
        unsigned op = rv_enc_info(enc)->op;
        if (rv_op_info(op)->kind == RV_KIND_SYSTEM && op != RV_OP_ECALL && op != RV_OP_EBREAK &&
            op != RV_OP_WRS_NTO && op != RV_OP_WRS_STO)
            for (unsigned i = 0; i < 4; i++)
                words_add(w, rv_encode_random(enc, rng_next(r)), 0);
    }
    /* Reads, and writes of what is there. */
    for (uint32_t csr = 0; csr < 4096; csr++) {
        words_add(w, asm_csrr(6, csr), 0);
        words_add(w, asm_i(0x73, 6, 7, 0, (int32_t)csr), 0);
        words_add(w, asm_i(0x73, 2, 6, 6, (int32_t)csr), 0);
    }
}

/* Rounding modes 5 and 6 in the instruction; 5, 6 and 7 in frm, which then must be valid. */
static void add_rounding(struct words *w, struct rng *r)
{
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++) {
        const struct rv_enc_info *info = rv_enc_info(enc);
        const struct rv_op_info *op = rv_op_info(info->op);
        if (op->kind != RV_KIND_FP || info->mask >> 12 & 7)
            continue;
        for (uint32_t frm = 0; frm < 8; frm++)
            for (uint32_t rm = 0; rm < 8; rm++) {
                uint32_t word = rv_encode_random(enc, rng_next(r));
                word = (word & ~UINT32_C(0x7000)) | rm << 12;
                /* x5, x6, x7 are of no use to the program. */
                if (op->rd_class == RV_CLASS_x)
                    word = (word & ~UINT32_C(0xf80)) | 6 << 7;
                words_add(w, word, frm);
            }
    }
}

void diff_illegal(struct diff *d)
{
    static const char *const names[] = {"illegal/half", "illegal/word", "illegal/privileged",
                                        "illegal/rounding"};
    struct words *w = malloc(sizeof *w);
    for (unsigned i = 0; w && i < ARRAY_SIZE(names); i++) {
        struct rng r = rng_part(d->seed, 1000 + i);
        *w = (struct words){.diff = d, .name = names[i]};
        if (i == 0)
            add_halves(w);
        else if (i == 1)
            add_random(w, &r, d->scale);
        else if (i == 2)
            add_privileged(w, &r);
        else
            add_rounding(w, &r);
        words_flush(w);
    }
    free(w);
}
