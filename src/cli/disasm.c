#include "cli/verbs.h"

#include "base/bits.h"
#include "base/error.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Reads up to want bytes, fewer only at the end. */
static size_t read_some(FILE *in, uint8_t *buf, size_t want)
{
    return fread(buf, 1, want, in);
}

static void disasm_stream(FILE *in)
{
    const uint64_t exts = rv_exts_closure(RV_EXTS_DEFAULT);
    uint64_t pc = 0;
    uint8_t buf[4] = {0};
    while (read_some(in, buf, 2) == 2) {
        uint32_t bits = le16_get(buf);
        unsigned len = rv_insn_len((uint16_t)bits);
        if (len == 4 && read_some(in, buf + 2, 2) == 2)
            bits = le32_get(buf);
        else
            len = 2;
        char text[128];
        rv_disasm(bits, pc, exts, text, sizeof text);
        printf("%8llx:\t%0*x\t%s\n", (unsigned long long)pc, (int)(2 * len), bits, text);
        pc += len;
    }
}

static int run_disasm(int argc, char **argv)
{
    if (argc != 1)
        return fail_usage("disasm takes one file, or - for standard input");
    bool standard = !strcmp(argv[0], "-");
    FILE *in = standard ? stdin : fopen(argv[0], "rbe");
    struct stat st;
    struct error err = {0};
    if (!in)
        error_set(&err, errno, "%.200s: cannot be opened: %s", argv[0], strerror(errno));
    else if (!fstat(fileno(in), &st) && S_ISDIR(st.st_mode))
        error_set(&err, EISDIR, "%.200s: is a directory, not a file", argv[0]);
    else
        disasm_stream(in);
    if (in && ferror(in))
        error_set(&err, EIO, "%.200s: cannot be read", argv[0]);
    if (in && !standard)
        fclose(in);
    return err.code ? fail_usage(err.msg) : 0;
}

static void disasm_help(FILE *out)
{
    fputs("\nThe file is plain code without headers; addresses count from 0.\n", out);
}

const struct verb verb_disasm = {
    .name = "disasm",
    .usage = "disasm FILE|-",
    .summary = "disassemble riscv64 machine code",
    .run = run_disasm,
    .help = disasm_help,
};
