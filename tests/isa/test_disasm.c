/*
 * The disassembler, and with it the decoder, against binutils: words go to a file, objdump prints
 * it, and every instruction that it knows must be the same text. Which objdump: environment
 * GUISE_OBJDUMP, or the argument if there is such a file, or riscv64-linux-gnu-objdump.
 *
 * Version 2.44 and later know all of the table. Earlier versions disassemble a raw file as RV64GC
 * with a few more extensions; what they do not know is counted and left out.
 */
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXTS RV_EXTS_DEFAULT

/* Differences that are right, by the mnemonic that objdump prints. */
static const struct {
    const char *theirs, *ours; /* ours is a prefix */
    const char *why;
} accepted[] = {
    {"c.unimp", ".insn", "a name of binutils for the illegal half-word 0"},
    {"c.slli64", "c.slli\t", "a name for the shift by 0, a hint on RV64"},
    {"c.srli64", "c.srli\t", "likewise"},
    {"c.srai64", "c.srai\t", "likewise"},
    {"c.addi16sp", ".insn\t2, 0x6101", "the immediate 0 is reserved"},
    {"unimp", "csrrw\tzero,cycle,zero", "a name of binutils for a word that always traps"},
    {"lpad", "auipc\tzero", "Zicfilp is not implemented: executed as what it is a case of"},
};

/* Rows of which objdump refuses some words that are legal. */
static const struct {
    const char *name, *why;
} wider[] = {
    {"fence", "reserved fields are ignored"},
    {"fence.tso", "likewise"},
    {"fence.i", "likewise"},
    {"fcvt.d.w", "an exact conversion has a rounding mode too"},
    {"fcvt.d.wu", "likewise"},
    {"fcvt.d.s", "likewise"},
    {"fcvt.s.h", "likewise"},
    {"fcvt.d.h", "likewise"},
};

struct words {
    uint32_t *word;
    size_t count, limit;
};

struct result {
    unsigned long same, unknown, foreign, different;
    bool confirmed[RV_ENC_COUNT];
    uint32_t refused[RV_ENC_COUNT]; /* a legal word that objdump does not know, or 0 */
};

static uint64_t random_next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Adds a word; objdump would take one that ends in 11111 for a longer instruction. */
static void words_add(struct words *w, uint32_t word)
{
    if ((word & 31) == 31)
        return;
    if ((word & 3) != 3)
        word = (word & 0xffff) | 0x00010000; /* c.nop keeps the words aligned */
    if (w->count == w->limit) {
        w->limit = w->limit ? w->limit * 2 : 1024;
        w->word = realloc(w->word, w->limit * sizeof w->word[0]);
        if (!w->word)
            abort();
    }
    w->word[w->count++] = word;
}

/* Legal words of every row, words a few bits away from them, all CSRs, all half-words, anything. */
static void words_fill(struct words *w, uint64_t seed)
{
    uint64_t random = seed | 1;
    unsigned scale = getenv("GUISE_LONG") ? 10 : 1;
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++) {
        words_add(w, rv_enc_info(enc)->match);
        for (unsigned i = 0; i < 100 * scale; i++)
            words_add(w, rv_encode_random(enc, random_next(&random)));
        for (unsigned i = 0; i < 300 * scale; i++) {
            uint32_t word = rv_encode_random(enc, random_next(&random));
            for (unsigned flips = 1 + i % 3; flips; flips--)
                word ^= UINT32_C(1) << (random_next(&random) >> 8 & 31);
            words_add(w, word);
        }
    }
    for (uint32_t csr = 0; csr < 4096; csr++)
        words_add(w, csr << 20 | 0x00059573); /* csrrw a0,csr,a1 */
    for (uint32_t half = 0; half < 65536; half++)
        words_add(w, half & 3 ? half : half | 0x10000);
    for (unsigned i = 0; i < 100000 * scale; i++)
        words_add(w, (uint32_t)(random_next(&random) >> 16) | 3);
}

/* Runs objdump over the words; NULL when it cannot be started. */
static FILE *objdump_start(const struct words *w, char *path, const char *candidate)
{
    const char *objdump = getenv("GUISE_OBJDUMP");
    if (!objdump || !*objdump)
        objdump = access(candidate, X_OK) ? "riscv64-linux-gnu-objdump" : candidate;

    char command[4096];
    snprintf(command, sizeof command, "command -v '%s' >/dev/null", objdump);
    if (system(command)) {
        printf("skipped: no %s; run tools/guest binutils or set GUISE_OBJDUMP\n", objdump);
        return NULL;
    }

    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f || fwrite(w->word, sizeof w->word[0], w->count, f) != w->count || fclose(f)) {
        perror(path);
        exit(1);
    }
    /* "max" enables all extensions where it is known; elsewhere it only gives a warning */
    snprintf(command, sizeof command,
             "'%s' -z -b binary -m riscv:rv64 -M no-aliases,max -D '%s' 2>/dev/null", objdump,
             path);
    return popen(command, "r");
}

/* Splits a line of objdump into address and text without its comment; false for other lines. */
static bool line_parse(char *line, unsigned long *address, char **text)
{
    char *end;
    *address = strtoul(line, &end, 16);
    char *tab = strchr(line, '\t');
    char *second = tab ? strchr(tab + 1, '\t') : NULL;
    if (end == line || *end != ':' || !second)
        return false;
    *text = second + 1;
    (*text)[strcspn(*text, "\n#<")] = 0;
    for (size_t n = strlen(*text); n && isspace((unsigned char)(*text)[n - 1]); n--)
        (*text)[n - 1] = 0;
    return true;
}

static bool is_unknown(const char *text)
{
    return text[0] == '.';
}

/* Whether the table has a row with the mnemonic of `text`, ordering suffix or not. */
static bool is_known_mnemonic(const char *text)
{
    size_t len = strcspn(text, "\t");
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++) {
        const char *name = rv_enc_info(enc)->name;
        size_t n = strlen(name);
        if (n <= len && !strncmp(name, text, n) &&
            (n == len || !strncmp(text + n, ".aq", 3) || !strncmp(text + n, ".rl", 3)))
            return true;
    }
    return false;
}

/* A reserved rounding mode, in some instructions, is "unknown" to objdump and illegal to us. */
static bool round_is_accepted(const char *ours, const char *theirs)
{
    const char *comma = strrchr(theirs, ',');
    return theirs[0] == 'f' && comma && !strcmp(comma, ",unknown") && is_unknown(ours);
}

static bool is_accepted(const char *ours, const char *theirs)
{
    size_t len = strcspn(theirs, "\t");
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
        if (strlen(accepted[i].theirs) == len && !strncmp(accepted[i].theirs, theirs, len) &&
            !strncmp(accepted[i].ours, ours, strlen(accepted[i].ours)))
            return true;
    return false;
}

/* An older objdump lacks names of CSRs, and all name those that only RV32 has. */
static bool csr_is_accepted(uint32_t word, const char *ours, const char *theirs)
{
    char number[16];
    snprintf(number, sizeof number, ",0x%x,", word >> 20);
    const char *in_theirs = strstr(theirs, number);
    const char *name = strchr(theirs, ',');
    const char *name_end = name ? strchr(name + 1, ',') : NULL;
    if (strcspn(ours, "\t") != strcspn(theirs, "\t") || strncmp(ours, "csr", 3) || !name_end)
        return false;
    bool rv32 = name_end[-1] == 'h' || (!strncmp(name, ",pmpcfg", 7) && (name_end[-1] & 1));
    return in_theirs || (rv32 && strstr(ours, number));
}

/* A hint whose extension an older objdump does not know is printed as what it is a case of. */
static bool hint_is_accepted(uint32_t word, const char *theirs)
{
    char base[64];
    uint64_t hints = RV_EXT_BIT(ZICBOP) | RV_EXT_BIT(ZIHINTPAUSE) | RV_EXT_BIT(ZIHINTNTL);
    rv_disasm(word, 0, EXTS & ~hints, base, sizeof base);
    return !strcmp(base, theirs);
}

static void word_compare(uint32_t word, unsigned long address, const char *theirs,
                         struct result *result)
{
    char ours[64];
    struct rv_insn insn;
    bool legal = rv_decode(word, EXTS, &insn);
    rv_disasm(word, address, EXTS, ours, sizeof ours);

    if (!strcmp(ours, theirs)) {
        result->same++;
        result->confirmed[insn.enc] = true;
    } else if (is_unknown(theirs)) {
        result->unknown++;
        result->refused[insn.enc] = word;
    } else if (!legal && !is_known_mnemonic(theirs)) {
        result->foreign++;
    } else if (!is_accepted(ours, theirs) && !round_is_accepted(ours, theirs) &&
               !csr_is_accepted(word, ours, theirs) && !(legal && hint_is_accepted(word, theirs))) {
        if (result->different++ < 40)
            printf("%08x: ours '%s', objdump '%s'\n", word, ours, theirs);
    }
}

static bool is_wider(unsigned enc)
{
    for (size_t i = 0; i < sizeof wider / sizeof wider[0]; i++)
        if (!strcmp(wider[i].name, rv_enc_info(enc)->name))
            return true;
    return false;
}

/* Where objdump knows a row, it must know all words that are legal to us. */
static void refusals_check(struct result *result)
{
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++) {
        if (result->confirmed[enc] && result->refused[enc] && !is_wider(enc)) {
            printf("%08x: %s, but objdump does not know it\n", result->refused[enc],
                   rv_enc_info(enc)->name);
            result->different++;
        }
    }
}

static void result_print(const struct result *result)
{
    unsigned confirmed = 0;
    printf("%lu the same, %lu not known to objdump, %lu of extensions that we lack, "
           "%lu different\n",
           result->same, result->unknown, result->foreign, result->different);
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++)
        confirmed += result->confirmed[enc];
    printf("%u of %u rows of the table confirmed; not:", confirmed, RV_ENC_COUNT - 1);
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++)
        if (!result->confirmed[enc])
            printf(" %s", rv_enc_info(enc)->name);
    printf("\n");
}

int main(int argc, char **argv)
{
    const char *s = getenv("GUISE_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    printf("GUISE_SEED=%ju\n", (uintmax_t)seed);

    struct words words = {0};
    words_fill(&words, seed);
    char path[] = "/tmp/guise-disasm-XXXXXX";
    FILE *f = objdump_start(&words, path, argc > 1 ? argv[1] : "");
    if (!f)
        return 77;

    static struct result result;
    char line[512], *text;
    unsigned long address;
    size_t seen = 0;
    while (fgets(line, sizeof line, f)) {
        if (line_parse(line, &address, &text) && address % 4 == 0 && address / 4 < words.count) {
            seen++;
            word_compare(words.word[address / 4], address, text, &result);
        }
    }
    pclose(f);
    unlink(path);
    refusals_check(&result);
    result_print(&result);
    if (seen != words.count)
        printf("objdump printed %zu of %zu words\n", seen, words.count);
    free(words.word);
    return seen != words.count || result.different || !result.same;
}
