/*
 * The differential test: every engine against qemu-riscv64, which is started as a child process.
 *
 *     test_diff [PATH OF QEMU-RISCV64]
 *
 * GUISE_SEED repeats a run, GUISE_LONG=1 makes it 25 times as long and GUISE_SHORT=1 a quarter,
 * GUISE_DIFF=insn/fadd.s runs the parts whose name starts so, GUISE_DIFF_KEEP=FILE keeps the last
 * program as an ELF file.
 */
#include "diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
    char why[256];
    const char *seed = getenv("GUISE_SEED");
    struct diff d = {
        .seed = seed && *seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL),
        .only = getenv("GUISE_DIFF"),
        .scale = getenv("GUISE_LONG")    ? 100
                 : getenv("GUISE_SHORT") ? 1
                                         : 4,
        .peer = peer_find(argc > 1 ? argv[1] : NULL, why, sizeof why),
    };
    if (!d.peer) {
        printf("%s\n", why);
        return 77;
    }
    printf("seed %lu, compared with %s\n", (unsigned long)d.seed, d.peer);
    diff_illegal(&d);
    diff_instructions(&d);
    diff_programs(&d);
    printf("%lu programs, %lu cases, %lu instructions, %lu failures\n", d.programs, d.cases,
           d.instructions, d.failures);
    return d.failures || !d.programs;
}
