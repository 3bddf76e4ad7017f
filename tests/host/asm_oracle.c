#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asm_case.h"

static const char *work_path(const char *dir, const char *name)
{
    static char path[2][200];
    static unsigned which;
    char *to = path[which++ % 2];
    snprintf(to, sizeof path[0], "%s/%s", dir, name);
    return to;
}

static FILE *work_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static FILE *work_run(const char *fmt, ...)
{
    char command[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    FILE *f = popen(command, "r");
    if (!f)
        exit(1);
    return f;
}

/* Versions of binutils differ in the name of 16 bytes. */
static void one_name(char *text)
{
    char *at = strstr(text, " OWORD");
    if (at) {
        memmove(at + 4, at + 2, strlen(at + 2) + 1);
        memcpy(at, " XMM", 4);
    }
}

/* Offset and text of the next instruction of objdump's output; blanks become one, comments go. */
static bool objdump_next(FILE *f, uint32_t *at, char *text)
{
    char line[400], *colon, *from;
    while (fgets(line, sizeof line, f)) {
        colon = strchr(line, ':');
        if (*line != ' ' || !colon || colon[1] != '\t')
            continue;
        *at = (uint32_t)strtoul(line, NULL, 16);
        line[strcspn(line, "#<\n")] = 0;
        char *to = text;
        for (from = colon + 2; *from && to < text + MAX_TEXT - 1; from++) {
            if (*from != ' ' || (to > text && to[-1] != ' '))
                *to++ = *from;
        }
        while (to > text && to[-1] == ' ')
            to--;
        *to = 0;
        one_name(text);
        return true;
    }
    return false;
}

static void fail(struct test *t, const struct item *item, const char *what)
{
    if (t->failures++ >= 20)
        return;
    printf("%s, expected %s; bytes", what, item->text);
    for (uint32_t i = 0; i < item->length; i++)
        printf(" %02x", t->code.start[item->at + i]);
    printf("\n");
}

void check_text(struct test *t, const char *dir)
{
    uint32_t at;
    char text[MAX_TEXT], message[MAX_TEXT + 40];
    FILE *f = fopen(work_path(dir, "code"), "wb");
    if (!f || fwrite(t->code.start, 1, asm_pos(&t->code), f) != asm_pos(&t->code) || fclose(f))
        exit(1);
    f = work_run("objdump -D -b binary -m i386:x86-64 -M intel -w --no-show-raw-insn %s",
                 work_path(dir, "code"));
    size_t i = 0;
    while (i < t->count && objdump_next(f, &at, text)) {
        if (at != t->items[i].at || strcmp(text, t->items[i].text) != 0) {
            snprintf(message, sizeof message, "at %x it is %s", at, text);
            fail(t, &t->items[i], message);
        }
        if (at > t->items[i].at)
            break;
        i += at == t->items[i].at;
    }
    pclose(f);
    if (i < t->count)
        fail(t, &t->items[i], "objdump went out of step");
}

void check_length(struct test *t, const char *dir)
{
    uint32_t at, last = 0;
    char text[MAX_TEXT], message[80];
    const struct item *item = NULL;
    size_t i = 0, seen = 0, wanted = 0, shorter = 0;
    FILE *f = fopen(work_path(dir, "code.s"), "w");
    if (!f)
        exit(1);
    fprintf(f, ".intel_syntax noprefix\n");
    for (size_t k = 0; k < t->count; k++) {
        if (t->items[k].assemble)
            fprintf(f, "%s\n", t->items[k].text), wanted++;
    }
    fprintf(f, "nop\n");
    fclose(f);
    f = work_run("as -W -o %s %s && objdump -d -w -M intel --no-show-raw-insn %s/code.o",
                 work_path(dir, "code.o"), work_path(dir, "code.s"), dir);
    for (; objdump_next(f, &at, text); last = at, seen++) {
        if (item && at - last < item->length) {
            snprintf(message, sizeof message, "%u bytes, as needs %u", item->length, at - last);
            fail(t, item, message);
        }
        shorter += item && at - last > item->length;
        while (i < t->count && !t->items[i].assemble)
            i++;
        item = i < t->count ? &t->items[i++] : NULL;
    }
    pclose(f);
    printf("%zu of %zu encodings are shorter than those of as\n", shorter, wanted);
    if (seen != wanted + 1) {
        printf("as took %zu of %zu instructions\n", seen, wanted);
        t->failures++;
    }
}

void work_remove(const char *dir)
{
    unlink(work_path(dir, "code"));
    unlink(work_path(dir, "code.s"));
    unlink(work_path(dir, "code.o"));
    rmdir(dir);
}
