/*
 * One file is one test: an IR text, the passes to run (line "; passes: ..."), a line "---", and
 * what must come out. Usage: test_ir_cases FILE...; with --print what comes out is printed instead.
 * Every text is also printed, read and printed again, which must not change it.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

#define TEXT_MAX 65536

static struct ir *ir;
static bool print_only;

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, TEXT_MAX);
    if (!file || !text || fread(text, 1, TEXT_MAX - 1, file) == 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    return text;
}

static char *printed(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ir_print(ir, out);
    fclose(out);
    return text;
}

static bool check(const char *path, const char *when, struct error *err)
{
    if (ir_verify(ir, err) < 0) {
        fprintf(stderr, "%s: %s: %s\n", path, when, err->msg);
        return false;
    }
    return true;
}

/* Prints, reads and prints: numbers may change once, then nothing may. */
static bool round_trip(const char *path)
{
    struct error err = {0};
    char *first = printed();
    if (ir_parse(ir, first, &err) < 0) {
        fprintf(stderr, "%s: what is printed cannot be read: %s\n", path, err.msg);
        return false;
    }
    char *second = printed();
    if (ir_parse(ir, second, &err) < 0)
        return false;
    char *third = printed();
    bool same = strcmp(second, third) == 0;
    if (!same)
        fprintf(stderr, "%s: printing and reading changes\n%s---\n%s", path, second, third);
    free(first);
    free(second);
    free(third);
    return same;
}

static bool run_passes(const char *path, const char *names)
{
    struct error err = {0};
    char word[32];
    int n;
    for (; sscanf(names, " %31[a-z]%n", word, &n) == 1; names += n) {
        const struct ir_pass *pass = ir_passes;
        while (pass->name && strcmp(pass->name, word) != 0)
            pass++;
        if (!pass->name) {
            fprintf(stderr, "%s: no pass '%s'\n", path, word);
            return false;
        }
        pass->run(ir);
        if (!check(path, word, &err))
            return false;
    }
    return true;
}

static bool run_case(const char *path)
{
    struct error err = {0};
    char *text = read_text(path), *passes = strstr(text, "; passes:");
    char *input = strstr(text, "\nslots "), *want = strstr(text, "\n---\n");
    if (!passes || !input || (!want && !print_only)) {
        fprintf(stderr, "%s: not a test\n", path);
        return false;
    }
    if (want) {
        want[1] = '\0';
        want += 5;
    }
    passes[strcspn(passes, "\n")] = '\0';
    if (ir_parse(ir, input + 1, &err) < 0) {
        fprintf(stderr, "%s: %s\n", path, err.msg);
        return false;
    }
    if (!check(path, "input", &err) || !run_passes(path, passes + strlen("; passes:")))
        return false;
    char *got = printed();
    bool ok = print_only || strcmp(got, want) == 0;
    if (print_only || !ok)
        printf("%s%s", ok ? "" : "--- this came out:\n", got);
    if (!ok)
        printf("%s: not what was expected\n", path);
    free(got);
    free(text);
    return ok && round_trip(path);
}

int main(int argc, char **argv)
{
    ir = ir_new();
    int failed = !ir || argc < 2;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--print"))
            print_only = true;
        else
            failed += !run_case(argv[i]);
    }
    ir_free(ir);
    return failed != 0;
}
