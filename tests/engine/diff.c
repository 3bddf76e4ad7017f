#include "diff.h"

#include "base/bits.h"
#include "engine/engines.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define LIMIT UINT64_C(200000000) /* instructions of a program; none comes near */
#define MAX_FAILURES 10

bool diff_part(struct diff *d, const char *name, struct rng *r)
{
    if (d->failures >= MAX_FAILURES || (d->only && strncmp(name, d->only, strlen(d->only))))
        return false;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    *r = rng_part(d->seed, hash);
    return true;
}

void diff_fail(struct diff *d, const char *name, const struct engine_ops *engine)
{
    d->failures++;
    printf("FAILED %s with engine %s; alone: GUISE_SEED=%lu GUISE_DIFF=%s and the same command\n",
           name, engine->name, (unsigned long)d->seed, name);
}

static void run_engine(struct diff *d, const char *name, const struct prog *p,
                       const struct engine_ops *engine, const struct peer_result *peer,
                       void (*differ)(void *, const struct engine_ops *, const uint8_t *,
                                      const uint8_t *),
                       void *ctx)
{
    struct box *b = box_new(engine, p);
    enum box_end end = box_run(b, LIMIT);
    d->instructions += *engine->icount(&b->vcpu);
    bool ended = end == BOX_EXITED && b->output && b->output_len == p->data_len;
    if (!ended) {
        diff_fail(d, name, engine);
        printf("    it did not end: cause %lu tval %lx pc %lx\n", (unsigned long)b->hart.mcause,
               (unsigned long)b->hart.mtval, (unsigned long)b->hart.mepc);
        prog_print(p, b->hart.mepc, 1, b->hart.mepc);
    } else if (memcmp(b->output, peer->output, p->data_len)) {
        diff_fail(d, name, engine);
        differ(ctx, engine, peer->output, b->output);
    }
    box_free(b);
}

static bool keep(const struct prog *p, const char *path)
{
    uint8_t *file;
    size_t len = prog_elf(p, &file);
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(file, len, 1, f) == 1;
    if (f)
        fclose(f);
    free(file);
    return ok;
}

void diff_run(struct diff *d, const char *name, const struct prog *p,
              void (*differ)(void *, const struct engine_ops *, const uint8_t *, const uint8_t *),
              void *ctx)
{
    d->programs++;
    const char *path = getenv("GUISE_DIFF_KEEP");
    if (path && keep(p, path))
        printf("%s is in %s\n", name, path);
    struct peer_result peer = peer_run(d->peer, p);
    if (!WIFEXITED(peer.status) || WEXITSTATUS(peer.status) || peer.output_len != p->data_len) {
        diff_fail(d, name, engines_for_tests[0]);
        printf("    the peer did not end as it should: status %x, %zu bytes of %zu\n", peer.status,
               peer.output_len, p->data_len);
        if (WIFSIGNALED(peer.status))
            diff_locate(d, engines_for_tests[0], p);
    } else {
        for (unsigned i = 0; engines_for_tests[i]; i++)
            run_engine(d, name, p, engines_for_tests[i], &peer, differ, ctx);
    }
    free(peer.output);
}

/* ---- the first instruction at which an engine and the peer differ ---- */

struct locate {
    const struct prog *prog;
    struct box *box;
    uint64_t last[8]; /* pcs, a ring */
    unsigned long count;
    bool found;
};

static void differs(struct locate *l, const char *what, unsigned number, uint64_t peer,
                    uint64_t ours)
{
    if (peer == ours)
        return;
    if (!l->found)
        printf("    first difference after %lu instructions:\n", l->count);
    l->found = true;
    printf("    %s%u: peer %016lx ours %016lx\n", what, number, (unsigned long)peer,
           (unsigned long)ours);
}

#define LAST(l, n) ((l)->last[((l)->count - 1 - (n)) % ARRAY_SIZE((l)->last)])

/* The instructions before, from memory, because the program may have changed them. */
static void print_context(const struct locate *l)
{
    const struct rv_hart *h = &l->box->hart;
    struct prog now = *l->prog;
    struct rv_insn in;
    now.text = addrspace_ram(l->box->mem, PROG_TEXT, now.text_len);
    uint64_t pc = LAST(l, 0);
    for (unsigned n = ARRAY_SIZE(l->last); n--;)
        if (n < l->count)
            prog_print(&now, LAST(l, n), 1, pc);
    if (pc < PROG_TEXT || pc + 4 > prog_pc(&now) ||
        !rv_decode(le32_get(now.text + (pc - PROG_TEXT)), RV_EXTS_DEFAULT, &in))
        return;
    printf("    now rs1 x%u %016lx f%u %016lx rs2 x%u %016lx f%u %016lx\n", in.rs1,
           (unsigned long)h->x[in.rs1], in.rs1, (unsigned long)h->f[in.rs1], in.rs2,
           (unsigned long)h->x[in.rs2], in.rs2, (unsigned long)h->f[in.rs2]);
}

/* One instruction of the program; what a trap does is part of the one that traps. */
static enum box_end locate_step(struct box *b)
{
    const uint64_t *icount = b->engine->icount(&b->vcpu);
    uint64_t before = *icount;
    enum box_end end = BOX_RUNS;
    while (end == BOX_RUNS && (*icount == before || b->hart.priv != RV_PRIV_U))
        end = box_step(b, 1);
    return end;
}

/* The peer's state before an instruction must be ours after one step less. */
static bool locate_each(void *ctx, const struct peer_state *s)
{
    struct locate *l = ctx;
    struct rv_hart *h = &l->box->hart;
    if (!l->count) {
        /* Processes start with registers that only the system knows. */
        memcpy(h->x, s->x, sizeof s->x);
        memcpy(h->f, s->f, sizeof s->f);
    } else if (locate_step(l->box) != BOX_RUNS) {
        return false;
    }
    differs(l, "pc", 0, s->pc, h->pc);
    for (unsigned i = 0; i < 32; i++) {
        differs(l, "x", i, s->x[i], h->x[i]);
        differs(l, "f", i, s->f[i], h->f[i]);
    }
    differs(l, "fcsr", 0, s->fcsr, (uint64_t)h->frm << 5 | h->fflags);
    if (l->found) {
        print_context(l);
        return false;
    }
    l->count++;
    LAST(l, 0) = s->pc;
    return true;
}

void diff_locate(struct diff *d, const struct engine_ops *engine, const struct prog *p)
{
    struct locate l = {.prog = p, .box = box_new(engine, p)};
    peer_trace(d->peer, p, locate_each, &l);
    if (!l.found) {
        printf("    no register differs in %lu instructions; the peer's last were\n", l.count);
        print_context(&l);
    }
    box_free(l.box);
}
