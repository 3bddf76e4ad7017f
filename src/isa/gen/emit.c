/* The lists that gen-isa prints: X-macros for src/isa/riscv64 and the page of the manual. */
#include "table.h"

#include <ctype.h>
#include <string.h>

struct lower {
    char s[24];
};

/* A C identifier in lower case. */
static struct lower ident_lower(const char *ident)
{
    struct lower l;
    size_t i = 0;
    for (; ident[i]; i++)
        l.s[i] = (char)tolower((unsigned char)ident[i]);
    l.s[i] = 0;
    return l;
}

void emit_exts(FILE *f, const struct table *t)
{
    fprintf(f, "/* RV_EXT(ID, name, what it implies with itself, has instructions) */\n");
    for (unsigned i = 0; i < t->ext_count; i++) {
        bool used = false;
        for (unsigned k = 0; k < t->row_count; k++)
            used |= t->row[k].exts >> i & 1;
        fprintf(f, "RV_EXT(%s, \"%s\", UINT64_C(%#jx), %d)\n", t->ext[i].decl.ident,
                ident_lower(t->ext[i].decl.name).s, (uintmax_t)t->ext[i].closure, used);
    }
}

void emit_kinds(FILE *f, const struct table *t)
{
    fprintf(f, "/* RV_KIND(ID, name) */\n");
    for (unsigned i = 0; i < t->kind_count; i++)
        fprintf(f, "RV_KIND(%s, %s) /* %s */\n", t->kind[i].decl.ident, t->kind[i].decl.name,
                t->kind[i].text);
}

void emit_operands(FILE *f, const struct table *t)
{
    fprintf(f, "/* RV_OPERAND(letter in the assembler text, member of rv_insn, style) */\n");
    for (unsigned i = 0; i < t->operand_count; i++)
        fprintf(f, "RV_OPERAND('%c', %s, %s)\n", 'A' + (int)i, slot_names[t->operand[i].slot],
                t->operand[i].style);
}

void emit_ops(FILE *f, const struct table *t)
{
    fprintf(f, "/* RV_OP(ID, name, kind, function, extension, has a 16-bit form) */\n");
    for (unsigned i = 0; i < t->row_count; i++) {
        const struct row *row = &t->row[i];
        if (row->base)
            continue;
        struct lower name = ident_lower(row->decl.ident);
        bool pure = !strncmp(row->kind->decl.name, "alu_", 4);
        fprintf(f, "RV_OP(%s, %s, %s, %s, %s, %d)\n", row->decl.ident, name.s, row->kind->decl.name,
                row->sem ? row->sem
                : pure   ? name.s
                         : "none",
                row->ext->decl.ident, row->has_compressed);
    }
}

/* The register class of a slot: the one-letter style of the operand that shows it. */
static const char *slot_class(const struct row *row, enum slot slot)
{
    for (unsigned i = 0; i < row->text_count; i++) {
        const struct operand *operand = row->text[i].operand;
        if (operand && operand->slot == slot && !operand->style[1])
            return operand->style;
    }
    return "none";
}

void emit_op_info(FILE *f, const struct table *t)
{
    fprintf(f, "/* RV_OP_INFO(ID, \"name\", kind, extension, classes of rd, rs1, rs2, rs3) */\n");
    for (unsigned i = 0; i < t->row_count; i++) {
        const struct row *row = &t->row[i];
        if (!row->base)
            fprintf(f, "RV_OP_INFO(%s, \"%s\", %s, %s, %s, %s, %s, %s)\n", row->decl.ident,
                    row->decl.name, row->kind->decl.ident, row->ext->decl.ident,
                    slot_class(row, SLOT_RD), slot_class(row, SLOT_RS1), slot_class(row, SLOT_RS2),
                    slot_class(row, SLOT_RS3));
    }
}

/* The assembler text: an operand is '%' and a letter, the rest stands for itself. */
static void text_emit(FILE *f, const struct table *t, const struct row *row)
{
    for (unsigned i = 0; i < row->text_count; i++) {
        const struct text *text = &row->text[i];
        if (text->operand)
            fprintf(f, "%%%c", 'A' + (int)(text->operand - t->operand));
        else if (text->constant)
            fputs(text->constant->decl.name, f);
        else
            fputc(text->punct, f);
    }
}

void emit_encs(FILE *f, const struct table *t)
{
    fprintf(f, "/* RV_ENC(ID, \"name\", operation, \"operands\", bytes, mask, match, extensions, "
               "layout) */\n");
    for (unsigned i = 0; i < t->row_count; i++) {
        const struct row *row = &t->row[i];
        fprintf(f, "RV_ENC(%s, \"%s\", %s, \"", row->decl.ident, row->decl.name,
                row->base ? row->base->decl.ident : row->decl.ident);
        text_emit(f, t, row);
        fprintf(f, "\", %u, 0x%08x, 0x%08x, UINT64_C(%#jx), %u)\n", row->len / 8, row->mask,
                row->match, (uintmax_t)row->exts, row->layout);
    }
}

void emit_markdown(FILE *f, const struct table *t)
{
    fprintf(f, "| instruction | operands | encoding | extensions | meaning |\n"
               "|---|---|---|---|---|\n");
    for (unsigned i = 0; i < t->row_count; i++) {
        const struct row *row = &t->row[i];
        fprintf(f, "| %s | ", row->decl.name);
        for (unsigned k = 0; k < row->text_count; k++) {
            const struct text *x = &row->text[k];
            if (x->punct)
                fputc(x->punct, f);
            else
                fputs(x->operand ? x->operand->decl.name : x->constant->decl.name, f);
        }
        fprintf(f, " | `");
        for (const char *c = row->pattern; *c; c++)
            fprintf(f, *c == '|' ? "\\|" : "%c", *c);
        fprintf(f, "` |");
        for (unsigned k = 0; k < t->ext_count; k++)
            if (row->exts >> k & 1)
                fprintf(f, " %s", t->ext[k].decl.name);
        fprintf(f, " | %s |\n", row->meaning);
    }
}
