/*
 * gen-isa must reject tables with mistakes and say where they are. The program is the first
 * argument. Every case is appended to a small correct table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* after the headers above, which it needs */
#include <cmocka.h>

static const char *gen_isa;

static const char correct[] = "ext I\n"
                              "ext C\n"
                              "ext D\n"
                              "kind alu_rr  a kind\n"
                              "kind load  another\n"
                              "field rd 5 rd\n"
                              "field rs1 5 rs1\n"
                              "field rs2 5 rs2\n"
                              "field imm 0 imm signed\n"
                              "field rm 3 rm !5\n"
                              "operand rd rd x\n"
                              "operand rs1 rs1 x\n"
                              "operand rs2 rs2 x\n"
                              "operand imm imm dec\n"
                              "const zero 0\n"
                              "add  0000000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n"
                              "lw  imm[11:0] rs1 010 rd 0000011  rd,imm(rs1)  I  load\n";

enum { CORRECT_LINES = 17 };

static const struct {
    const char *lines;
    unsigned line; /* of the message, counted from the first appended line; 0: no mistake */
    const char *message;
} cases[] = {
    /* correct ones, so that the others fail for their reason */
    {"", 0, ""},
    {"sub  0100000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n", 0, ""},
    {"ntl  0000000 00010 00000 000 00000 0110011  -  D  load  in add\n", 0, ""},
    {"c.add  100 1 rd rs2!0 10  rd,rs2  C  = add rd,rd,rs2\n", 0, ""},
    {"c.mv  100 0 rd rs2!0 10  rd,rs2  C  = add rd,zero,rs2\n"
     "c.jr  100 0 rs1!0 00000 10  rs1  C  = lw zero,0(rs1)\n",
     0, ""},
    {"fadd  0000000 rs2 rs1 rm rd 1010011  rd,rs1,rs2  D  load\n"
     "other  0000000 rs2 rs1 101 rd 1010011  rd,rs1,rs2  D  load\n",
     0, ""},

    /* duplicates */
    {"\nadd  1000000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n", 2, "already on line 16"},
    {"field rd 5 rd\n", 1, "rd is already on line 6"},
    {"a.b  1000000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n"
     "a_b  0100000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n",
     2, "one C identifier"},

    /* overlaps */
    {"same  0000000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n", 1, "overlaps add on line 16"},
    {"wide  0000000 rs2 rs1 rm rd 0110011  rd,rs1,rs2  I  alu_rr\n", 1, "overlaps add"},
    {"ntl  0000000 00010 00000 000 00000 0110011  -  D  load\n", 1, "overlaps add"},
    {"fadd  0000000 rs2 rs1 rm rd 1010011  rd,rs1,rs2  D  load\n"
     "other  0000000 rs2 rs1 100 rd 1010011  rd,rs1,rs2  D  load\n",
     2, "overlaps fadd"},
    {"c.mv  100 0 rd rs2!0 10  rd,rs2  C  = add rd,zero,rs2\n"
     "c.jr  100 0 rs1 00000!0 10  rs1  C  = lw zero,0(rs1)\n",
     2, "unknown field '00000'"},
    {"c.mv  100 0 rd rs2 10  rd,rs2  C  = add rd,zero,rs2\n"
     "c.jr  100 0 rs1!0 00000 10  rs1  C  = lw zero,0(rs1)\n",
     2, "overlaps c.mv"},
    {"one  0000000 00010 rs1 000 00000 0110011  -  D  load  in add\n"
     "two  0000000 rs2 00010 000 00000 0110011  -  D  load  in add\n",
     2, "two overlaps one"},

    /* special cases */
    {"ntl  0000000 00010 00000 001 00000 0110011  -  D  load  in add\n", 1, "no special case of"},
    {"ntl  0000000 rs2 rs1 000 rd 0110011  -  D  load  in add\n", 1, "no special case of add"},
    {"ntl  0000000 00010 00000 000 00000 0110011  -  D  load  in sub\n", 1, "names no row above"},
    {"ntl  0000000 00010 00000 000 00000 0110011  -  D  load  add\n", 1, "names no row above"},

    /* patterns */
    {"sub  010000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu_rr\n", 1, "31 bits, not 16 or 32"},
    {"sub  0100000 rs2 rs1 000 rd 0110010  rd,rs1,rs2  I  alu_rr\n", 1, "low two bits"},
    {"c.x  000 imm[5] rd imm[4:0] 11  rd,imm  C  = lw rd,imm(rd)\n", 1, "low two bits"},
    {"sub  0100000 rs9 rs1 000 rd 0110011  rd,rs1  I  alu_rr\n", 1, "unknown field 'rs9'"},
    {"x  imm[11:0] rs1 000 rd[4:0|0] 000011  rd  I  load\n", 1, "bits 0:0 of rd twice"},
    {"x  imm[11:0] rs1 000 rd[5:1] 0000011  rd  I  load\n", 1, "rd has only 5 bits"},
    {"x  imm rs1 000 rd 0000011  rd  I  load\n", 1, "imm needs bits in brackets"},
    {"x  imm[0:11] rs1 000 rd 0000011  rd  I  load\n", 1, "bad bits 0:11"},
    {"x  imm[a:0] rs1 000 rd 0000011  rd  I  load\n", 1, "bad bit range"},
    {"x  imm[40:0] rs1 000 rd 0000011  rd  I  load\n", 1, "bad bits 40:0"},

    /* operands, extensions, meanings */
    {"sub  0100000 rs2 rs1 000 rd 0110011  rd,fs1,rs2  I  alu_rr\n", 1, "unknown operand 'fs1'"},
    {"sub  0100000 rs2 rs1 000 rd 0110011  rd,imm,rs2  I  alu_rr\n", 1, "nothing sets imm"},
    {"sub  0100000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  Q  alu_rr\n", 1, "unknown extension 'Q'"},
    {"sub  0100000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I  alu\n", 1, "unknown kind 'alu'"},
    {"x  imm[11:0] rs1 000 rd 0000011  rd  I  load:add\n", 1, "only alu kinds"},
    {"sub  0100000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  I\n", 1, "5 or 6 columns"},
    {"c.add  100 1 rd rs2!0 10  rd,rs2  C  = sub rd,rd,rs2\n", 1, "no operation sub above"},
    {"c.add  100 1 rd rs2!0 10  rd,rs2  C  = add rd,rd\n", 1, "wrong arguments for add"},
    {"c.add  100 1 rd rs2!0 10  rd,rs2  C  = add rd,rd,rs2,rs2\n", 1, "too many arguments"},
    {"c.add  100 1 rd rs2!0 10  rd,rs2  C  = add rd,rd,rs1\n", 1, "cannot pass 'rs1' to add"},
    {"c.lw  100 1 rd rs2!0 10  rd,rs2  C  = lw rd,0,rs2\n", 1, "wrong arguments for lw"},
    {"fx  0100000 rs2 rs1 000 rd 0110011  rd,rs1,rs2  D  alu_rr\n"
     "c.fx  100 1 rd rs2!0 10  rd,rs2  C  = fx rd,rd,rs2\n",
     2, "c.fx lacks an extension of fx"},

    /* declarations */
    {"field x 33 rd\n", 1, "needs a width"},
    {"field x 5 rx\n", 1, "unknown slot 'rx'"},
    {"field x 5 rd odd\n", 1, "unknown attribute 'odd'"},
    {"operand x rd\n", 1, "needs a style"},
    {"const x\n", 1, "needs a value"},
    {"ext X implies Y\n", 1, "extension Y is not declared"},
    {"ext X needs I\n", 1, "expected 'implies'"},
    {"kind x\n", 1, "needs a description"},
    {"instruction\n", 1, "neither a declaration nor"},
    {"a.very.long.name.of.an.instruction  0100000 rs2 rs1 000 rd 0110011  -  I  alu_rr\n", 1,
     "too long"},
};

/* Runs gen-isa --check on `text`; returns its exit status, the first line and how many. */
static int check_run(const char *text, char *first, size_t size, unsigned *lines)
{
    char path[] = "/tmp/guise-gen-isa-XXXXXX", command[4096];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);

    snprintf(command, sizeof command, "'%s' --check %s 2>&1", gen_isa, path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    first[0] = 0;
    char line[512];
    for (*lines = 0; fgets(line, sizeof line, f); (*lines)++)
        if (!*lines)
            snprintf(first, size, "%s", line);
    int status = pclose(f);
    unlink(path);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[8192], first[512], place[32];
        snprintf(text, sizeof text, "%s%s", correct, cases[i].lines);
        unsigned lines;
        int status = check_run(text, first, sizeof first, &lines);
        if (!cases[i].line) {
            if (status || first[0])
                fail_msg("rejected:\n%s%s", cases[i].lines, first);
            continue;
        }
        snprintf(place, sizeof place, ":%u: ", CORRECT_LINES + cases[i].line);
        if (status != 1 || !strstr(first, place) || !strstr(first, cases[i].message))
            fail_msg("expected '%s%s' for\n%sbut got status %d, '%s'", place, cases[i].message,
                     cases[i].lines, status, first);
    }
}

static void test_all_mistakes_are_reported(void **state)
{
    (void)state;
    char first[512];
    unsigned lines;
    assert_int_equal(check_run("ext I\nfield a 5 q\nfield b 5 q\nx\n", first, sizeof first, &lines),
                     1);
    assert_int_equal(lines, 3);
}

static void test_missing_file(void **state)
{
    (void)state;
    char command[4096];
    snprintf(command, sizeof command, "'%s' --check /nonexistent/table 2>&1 | grep -q 'No such'",
             gen_isa);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: test_gen_isa GEN-ISA\n");
        return 2;
    }
    gen_isa = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_all_mistakes_are_reported),
        cmocka_unit_test(test_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
