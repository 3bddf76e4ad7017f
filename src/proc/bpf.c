#include "proc/bpf.h"

#include <linux/bpf_common.h>
#include <string.h>

/* ---- checking ---- */

static bool bpf_check_load(const struct sock_filter *f)
{
    switch (f->code) {
    case BPF_LD | BPF_W | BPF_ABS:
        return f->k < sizeof(struct seccomp_data) && !(f->k & 3);
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
        return f->k < BPF_MEMWORDS;
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
        return true;
    default:
        return false;
    }
}

static bool bpf_check_alu(const struct sock_filter *f)
{
    bool constant = BPF_SRC(f->code) == BPF_K;
    switch (BPF_OP(f->code)) {
    case BPF_ADD:
    case BPF_SUB:
    case BPF_MUL:
    case BPF_AND:
    case BPF_OR:
    case BPF_XOR:
        return true;
    case BPF_DIV:
        return !constant || f->k;
    case BPF_LSH:
    case BPF_RSH:
        return !constant || f->k < 32;
    case BPF_NEG:
        return constant;
    default:
        return false;
    }
}

/* `after`: the instructions that follow. */
static bool bpf_check_jump(const struct sock_filter *f, unsigned after)
{
    switch (BPF_OP(f->code)) {
    case BPF_JA:
        return BPF_SRC(f->code) == BPF_K && f->k < after;
    case BPF_JEQ:
    case BPF_JGT:
    case BPF_JGE:
    case BPF_JSET:
        return f->jt < after && f->jf < after;
    default:
        return false;
    }
}

static bool bpf_check_insn(const struct sock_filter *f, unsigned after)
{
    if (f->code > 0xff)
        return false;
    switch (BPF_CLASS(f->code)) {
    case BPF_LD:
    case BPF_LDX:
    case BPF_ST:
    case BPF_STX:
        return bpf_check_load(f);
    case BPF_ALU:
        return bpf_check_alu(f);
    case BPF_JMP:
        return bpf_check_jump(f, after);
    case BPF_RET:
        return f->code == (BPF_RET | BPF_K) || f->code == (BPF_RET | BPF_A);
    default:
        return f->code == (BPF_MISC | BPF_TAX) || f->code == (BPF_MISC | BPF_TXA);
    }
}

/*
 * Words of the program's memory that were written on all ways to each instruction. Jumps go
 * forward only, so one pass is enough.
 */
struct bpf_words {
    uint16_t at[BPF_MAXINSNS];
    uint16_t now;
};

static void bpf_words_jump(struct bpf_words *w, unsigned to)
{
    w->at[to] &= w->now;
}

/* False: it reads a word that may not have been written. */
static bool bpf_check_words(struct bpf_words *w, const struct sock_filter *f, unsigned pc)
{
    w->now &= w->at[pc];
    switch (BPF_CLASS(f->code)) {
    case BPF_ST:
    case BPF_STX:
        w->now |= (uint16_t)(1u << f->k);
        return true;
    case BPF_LD:
    case BPF_LDX:
        return BPF_MODE(f->code) != BPF_MEM || w->now >> f->k & 1;
    case BPF_JMP:
        if (BPF_OP(f->code) == BPF_JA) {
            bpf_words_jump(w, pc + 1 + f->k);
        } else {
            bpf_words_jump(w, pc + 1 + f->jt);
            bpf_words_jump(w, pc + 1 + f->jf);
        }
        w->now = UINT16_MAX;
        return true;
    case BPF_RET:
        w->now = UINT16_MAX; /* what follows is reached by jumps */
        return true;
    default:
        return true;
    }
}

bool bpf_check(const struct sock_filter *insn, unsigned len)
{
    struct bpf_words words = {.now = 0};
    memset(words.at, 0xff, len * sizeof words.at[0]);
    for (unsigned pc = 0; pc < len; pc++)
        if (!bpf_check_insn(&insn[pc], len - pc - 1) || !bpf_check_words(&words, &insn[pc], pc))
            return false;
    return BPF_CLASS(insn[len - 1].code) == BPF_RET;
}

/* ---- running ---- */

struct bpf_state {
    uint32_t a, x;
    uint32_t mem[BPF_MEMWORDS];
};

static uint32_t bpf_load(const struct bpf_state *s, const struct sock_filter *f,
                         const struct seccomp_data *data)
{
    uint32_t v;
    switch (BPF_MODE(f->code)) {
    case BPF_ABS:
        memcpy(&v, (const char *)data + f->k, sizeof v);
        return v;
    case BPF_MEM:
        return s->mem[f->k];
    case BPF_LEN:
        return sizeof *data;
    default:
        return f->k;
    }
}

/* Shifts count modulo 32; division by zero is the caller's. */
static uint32_t bpf_alu(uint32_t a, unsigned op, uint32_t b)
{
    switch (op) {
    case BPF_ADD:
        return a + b;
    case BPF_SUB:
        return a - b;
    case BPF_MUL:
        return a * b;
    case BPF_DIV:
        return a / b;
    case BPF_AND:
        return a & b;
    case BPF_OR:
        return a | b;
    case BPF_XOR:
        return a ^ b;
    case BPF_LSH:
        return a << (b & 31);
    case BPF_RSH:
        return a >> (b & 31);
    default:
        return 0 - a;
    }
}

static uint32_t bpf_jump(uint32_t a, const struct sock_filter *f, uint32_t b)
{
    switch (BPF_OP(f->code)) {
    case BPF_JA:
        return f->k;
    case BPF_JEQ:
        return a == b ? f->jt : f->jf;
    case BPF_JGT:
        return a > b ? f->jt : f->jf;
    case BPF_JGE:
        return a >= b ? f->jt : f->jf;
    default:
        return a & b ? f->jt : f->jf;
    }
}

uint32_t bpf_run(const struct sock_filter *f, const struct seccomp_data *data)
{
    struct bpf_state s = {0};
    for (;; f++) {
        uint32_t operand = BPF_SRC(f->code) == BPF_X ? s.x : f->k;
        switch (BPF_CLASS(f->code)) {
        case BPF_LD:
            s.a = bpf_load(&s, f, data);
            break;
        case BPF_LDX:
            s.x = bpf_load(&s, f, data);
            break;
        case BPF_ST:
            s.mem[f->k] = s.a;
            break;
        case BPF_STX:
            s.mem[f->k] = s.x;
            break;
        case BPF_ALU:
            if (BPF_OP(f->code) == BPF_DIV && !operand)
                return 0;
            s.a = bpf_alu(s.a, BPF_OP(f->code), operand);
            break;
        case BPF_JMP:
            f += bpf_jump(s.a, f, operand);
            break;
        case BPF_RET:
            return BPF_RVAL(f->code) == BPF_A ? s.a : f->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(f->code) == BPF_TAX)
                s.x = s.a;
            else
                s.a = s.x;
        }
    }
}
