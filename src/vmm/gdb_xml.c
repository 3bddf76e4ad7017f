/*
 * The target description: which registers there are. Features and names are those that gdb's
 * RISC-V support asks for.
 */
#include "vmm/gdb_session.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const gdb_x_names[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "fp", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static const char *const gdb_f_names[32] = {
    "ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

static void gdb_xml_reg(FILE *f, const char *name, unsigned number, const char *type,
                        const char *group)
{
    fprintf(f, "<reg name=\"%s\" bitsize=\"64\" regnum=\"%u\" type=\"%s\" group=\"%s\"/>\n", name,
            number, type, group);
}

static const char *gdb_x_type(unsigned i)
{
    switch (i) {
    case 1:
        return "code_ptr";
    case 2:
    case 3:
    case 4:
    case 8:
        return "data_ptr";
    default:
        return "int";
    }
}

static void gdb_xml_write(FILE *f, const struct gdb_target_ops *ops, void *ctx)
{
    fputs("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
          "<target version=\"1.0\">\n<architecture>riscv:rv64</architecture>\n"
          /* Without this gdb may take the target for a Linux process and step by breakpoints. */
          "<osabi>none</osabi>\n"
          "<feature name=\"org.gnu.gdb.riscv.cpu\">\n",
          f);
    for (unsigned i = 0; i < 32; i++)
        gdb_xml_reg(f, gdb_x_names[i], GDB_REG_X + i, gdb_x_type(i), "general");
    gdb_xml_reg(f, "pc", GDB_REG_PC, "code_ptr", "general");
    fputs("</feature>\n<feature name=\"org.gnu.gdb.riscv.fpu\">\n", f);
    for (unsigned i = 0; i < 32; i++)
        gdb_xml_reg(f, gdb_f_names[i], GDB_REG_F + i, "ieee_double", "float");
    fputs("</feature>\n<feature name=\"org.gnu.gdb.riscv.csr\">\n", f);
    for (unsigned csr = 0; csr < 4096; csr++) {
        const char *name = ops->csr_name(ctx, csr);
        if (name)
            gdb_xml_reg(f, name, GDB_REG_CSR + csr, "int", "csr");
    }
    fputs("</feature>\n<feature name=\"org.gnu.gdb.riscv.virtual\">\n", f);
    gdb_xml_reg(f, "priv", GDB_REG_PRIV, "int", "system");
    fputs("</feature>\n</target>\n", f);
}

char *gdb_describe_target(const struct gdb_target_ops *ops, void *ctx)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    gdb_xml_write(f, ops, ctx);
    bool bad = ferror(f);
    if (fclose(f) || bad) {
        free(text);
        return NULL;
    }
    return text;
}
