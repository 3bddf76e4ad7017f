/* What was compiled to what, for a person to read: IR, places and host code, side by side. */
#include "engine/dbt/emit.h"
#include "host/x86_64/disasm.h"

void emit_note(struct emit *e, uint32_t what)
{
    if (!e->dump || !emit_grow((void **)&e->mark, &e->mark_cap, e->mark_count + 1, sizeof *e->mark))
        return;
    e->mark[e->mark_count].at = asm_pos(&e->a);
    e->mark[e->mark_count++].what = what;
}

static void emit_print_loc(const struct emit *e, ir_ref ref, FILE *out)
{
    ra_loc l = emit_loc(e, ref);
    if (ra_is_gpr(l))
        fprintf(out, "r%u", l);
    else if (ra_is_fp(l))
        fprintf(out, "x%u", l - RA_FP);
    else if (ra_is_frame(l))
        fprintf(out, "[%u]", l - RA_FRAME);
    else if (ra_is_home(l))
        fprintf(out, "home%u", l - RA_HOME);
    else
        fputs(ra_is_const(l) ? "#" : l == RA_FLAGS ? "flags" : "-", out);
}

static void emit_print_ins(const struct emit *e, ir_ref ref, FILE *out)
{
    ir_print_ins(e->ir, ref, out);
    fputs("   ; ", out);
    emit_print_loc(e, ref, out);
    for (unsigned i = 0; i < ir_argc(ir_at(e->ir, ref)); i++) {
        fputc(' ', out);
        emit_print_loc(e, ir_at(e->ir, ref)->arg[i], out);
    }
    fputc('\n', out);
}

void emit_dump(const struct emit *e)
{
    struct host_disasm *d = host_disasm_new();
    for (uint32_t i = 0; d && i < e->mark_count; i++) {
        uint32_t what = e->mark[i].what, from = e->mark[i].at;
        uint32_t to = i + 1 < e->mark_count ? e->mark[i + 1].at : from;
        if (what & EMIT_MARK_BLOCK) {
            fprintf(e->dump, "block %u:\n", what & ~EMIT_MARK_BLOCK);
        } else if (what & EMIT_MARK_STUB) {
            if (to > from)
                fprintf(e->dump, "behind, for %%%u:\n", what & ~EMIT_MARK_STUB);
        } else {
            emit_print_ins(e, what, e->dump);
        }
        host_disasm_print(d, e->dump, e->a.start + from, to - from, from);
    }
    host_disasm_free(d);
}
