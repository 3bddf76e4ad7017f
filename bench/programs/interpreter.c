/* An interpreter of a small stack machine, one switch for all operations: the dispatch is an
 * indirect jump that goes everywhere. The unit is one run of the machine's program, which counts
 * the primes below 200 by trial division. */
#include "bench.h"

enum op {
    OP_PUSH,
    OP_LOAD,
    OP_STORE,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_REM,
    OP_LESS,
    OP_ZERO,
    OP_JUMP,
    OP_JUMP_IF,
    OP_DUP,
    OP_DROP,
    OP_SWAP,
    OP_XOR,
    OP_HALT
};

struct code {
    uint8_t op;
    int16_t operand;
};

/* Variables: 0 candidate, 1 divisor, 2 primes, 3 a hash of them, 4 limit. */
static const struct code program[] = {
    {OP_PUSH, 2},
    {OP_STORE, 0},
    /* 2: next candidate */
    {OP_LOAD, 0},
    {OP_LOAD, 4},
    {OP_LESS, 0},
    {OP_ZERO, 0},
    {OP_JUMP_IF, 42},
    {OP_PUSH, 2},
    {OP_STORE, 1},
    /* 9: next divisor */
    {OP_LOAD, 0},
    {OP_LOAD, 1},
    {OP_DUP, 0},
    {OP_MUL, 0},
    {OP_LESS, 0},
    {OP_JUMP_IF, 25},
    {OP_LOAD, 0},
    {OP_LOAD, 1},
    {OP_REM, 0},
    {OP_ZERO, 0},
    {OP_JUMP_IF, 37},
    {OP_LOAD, 1},
    {OP_PUSH, 1},
    {OP_ADD, 0},
    {OP_STORE, 1},
    {OP_JUMP, 9},
    /* 25: a prime */
    {OP_LOAD, 2},
    {OP_PUSH, 1},
    {OP_ADD, 0},
    {OP_STORE, 2},
    {OP_LOAD, 3},
    {OP_PUSH, 31},
    {OP_MUL, 0},
    {OP_LOAD, 0},
    {OP_SWAP, 0},
    {OP_XOR, 0},
    {OP_STORE, 3},
    {OP_JUMP, 37},
    /* 37: step */
    {OP_LOAD, 0},
    {OP_PUSH, -1},
    {OP_SUB, 0},
    {OP_STORE, 0},
    {OP_JUMP, 2},
    /* 42 */
    {OP_HALT, 0},
};

BENCH_OPAQUE static void execute(const struct code *code, int64_t *variables)
{
    uint64_t stack[16] = {0}, *top = stack;

    for (const struct code *pc = code;;) {
        const struct code *now = pc++;
        switch ((enum op)now->op) {
        case OP_PUSH:
            *++top = (uint64_t)(int64_t)now->operand;
            break;
        case OP_LOAD:
            *++top = (uint64_t)variables[now->operand];
            break;
        case OP_STORE:
            variables[now->operand] = (int64_t)*top--;
            break;
        case OP_ADD:
            top--;
            top[0] += top[1];
            break;
        case OP_SUB:
            top--;
            top[0] -= top[1];
            break;
        case OP_MUL:
            top--;
            top[0] *= top[1];
            break;
        case OP_REM:
            top--;
            top[0] %= top[1];
            break;
        case OP_LESS:
            top--;
            top[0] = top[0] < top[1];
            break;
        case OP_ZERO:
            top[0] = top[0] == 0;
            break;
        case OP_JUMP:
            pc = code + now->operand;
            break;
        case OP_JUMP_IF:
            if (*top--)
                pc = code + now->operand;
            break;
        case OP_DUP:
            top[1] = top[0];
            top++;
            break;
        case OP_DROP:
            top--;
            break;
        case OP_SWAP: {
            uint64_t saved = top[0];
            top[0] = top[-1];
            top[-1] = saved;
            break;
        }
        case OP_XOR:
            top--;
            top[0] ^= top[1];
            break;
        case OP_HALT:
            return;
        }
    }
}

static uint64_t run(uint64_t count)
{
    int64_t variables[5] = {0, 0, 0, 0, 200};
    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        variables[2] = 0;
        execute(program, variables);
    }
    bench_stop();
    if (variables[2] != 46)
        bench_fail("there are 46 primes below 200");
    return bench_mix(1, (uint64_t)variables[3]);
}

const struct bench_program bench_interpreter = {"interpreter", "int", 1, 35000, 3000, 40, run};
