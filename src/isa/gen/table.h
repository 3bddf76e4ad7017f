/*
 * The instruction table in memory, as gen-isa reads, checks and prints it. The grammar is at the
 * top of riscv64/insns.txt.
 *
 * Names and texts are strings that the table keeps until table_free(). Mistakes in the table are
 * reported with file and line and counted; reading goes on with the next line, and nothing is
 * written when there were any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum slot { SLOT_RD, SLOT_RS1, SLOT_RS2, SLOT_RS3, SLOT_RM, SLOT_IMM, SLOT_COUNT };

extern const char *const slot_names[SLOT_COUNT];

/* What every declaration starts with: its name in the table, as a C identifier, and its line. */
struct decl {
    const char *name;
    char ident[24];
    unsigned line;
};

struct ext {
    struct decl decl;
    uint64_t closure; /* itself and what it implies */
};

struct kind {
    struct decl decl;
    const char *text;
};

struct forbid {
    uint32_t mask, value;
};

struct field {
    struct decl decl;
    unsigned width; /* 0: given by the use */
    enum slot slot;
    bool is_signed;
    unsigned add;
    unsigned forbid_count;
    unsigned forbid[4];
};

struct operand {
    struct decl decl;
    enum slot slot;
    const char *style;
};

struct constant {
    struct decl decl;
    int value;
};

/* Bits to .. to+len-1 of a value stand at bits at .. at+len-1 of the instruction. */
struct piece {
    unsigned at, to, len;
};

/* Where the value of a slot comes from: pieces of a field, or a constant when field is NULL. */
struct source {
    bool used;
    const struct field *field;
    int constant;
    unsigned width; /* of the value */
    bool has_forbidden;
    unsigned forbidden; /* in this row, besides what the field forbids */
    unsigned piece_count;
    struct piece piece[10];
};

/* One element of the assembler text: exactly one of operand, constant and punct is set. */
struct text {
    const struct operand *operand;
    const struct constant *constant;
    char punct;
};

struct row {
    struct decl decl;
    const char *pattern;
    const char *meaning;
    unsigned len; /* bits: 16 or 32 */
    uint32_t mask, match;
    unsigned forbid_count;
    struct forbid forbid[6];
    struct source slot[SLOT_COUNT];
    unsigned text_count;
    struct text text[12];
    uint64_t exts;
    const struct ext *ext; /* the first one */
    const struct kind *kind;
    const char *sem;
    const struct row *base;    /* the row this is another encoding of, or NULL */
    const struct row *special; /* the row this is a special case of, or NULL */
    unsigned depth;            /* number of `special` steps to a row that is none */
    unsigned layout;           /* index in table.layout */
    bool has_compressed;       /* some 16-bit row has this one as its base */
};

/* A string that the table owns. */
struct string {
    struct string *next;
    char text[];
};

struct table {
    const char *path;
    struct string *strings;
    unsigned line;
    unsigned error_count;
    unsigned ext_count, kind_count, field_count, operand_count, constant_count, row_count;
    struct ext ext[64];
    struct kind kind[40];
    struct field field[40];
    struct operand operand[26];
    struct constant constant[20];
    struct row row[1200];
    unsigned layout_count;
    char *layout[1200]; /* the statements that fill struct rv_insn */
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The element of array `a` with `count` elements whose decl.name is `name`, or NULL. */
#define FIND(a, count, name) table_find((a), (count), sizeof((a)[0]), (name))
void *table_find(void *array, unsigned count, size_t size, const char *name);

/* Cuts the next word off *s, NULL when there is none. */
char *word_next(char **s);

/* A whole string that is a number in C's notation. */
bool number_parse(const char *s, int *value);

/* Reports a mistake at `line` of the table and counts it. */
void table_error(struct table *t, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads the table at t->path into *t, which is otherwise zero. */
void table_read(struct table *t);

/* Fills the pattern, the forbidden values and the sources of a row from its second column. */
void pattern_parse(struct table *t, struct row *row, char *s);

/* Frees the table and all that it holds. */
void table_free(struct table *t);

/* The rules that concern more than one line: duplicates, overlaps, special cases, bases. */
void table_check(struct table *t);

/* Numbers the layouts: rows whose fields fill struct rv_insn the same way share one. */
void layouts_assign(struct table *t);

/* What gen-isa prints. Each writes one file from a table without errors. */
void emit_exts(FILE *f, const struct table *t);
void emit_kinds(FILE *f, const struct table *t);
void emit_operands(FILE *f, const struct table *t);
void emit_ops(FILE *f, const struct table *t);
void emit_op_info(FILE *f, const struct table *t);
void emit_encs(FILE *f, const struct table *t);
void emit_decoder(FILE *f, const struct table *t);
void emit_markdown(FILE *f, const struct table *t);
