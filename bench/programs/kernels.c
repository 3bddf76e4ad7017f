/* Three small kernels in turn, as embedded programs have them: a linked list that is searched and
 * sorted, products of small integer matrices, and a state machine that scans numbers in a text; a
 * CRC gathers the results. The unit is one turn of all three. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { NODES = 200, SIDE = 16, TEXT = 700 };

struct node {
    struct node *next;
    int16_t key, tag;
};

struct state {
    struct node nodes[NODES];
    int16_t a[SIDE][SIDE], b[SIDE][SIDE];
    int32_t c[SIDE][SIDE];
    char text[TEXT + 1];
};

static uint16_t crc_update(uint16_t crc, uint32_t value)
{
    for (int bit = 0; bit < 32; bit++) {
        uint32_t out = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (out)
            crc ^= 0xa001;
    }
    return crc;
}

BENCH_OPAQUE static struct node *list_merge(struct node *a, struct node *b)
{
    struct node *head = NULL, **tail = &head;
    while (a && b) {
        struct node **from = a->key <= b->key ? &a : &b;
        *tail = *from;
        tail = &(*from)->next;
        *from = (*from)->next;
    }
    *tail = a ? a : b;
    return head;
}

BENCH_OPAQUE static struct node *list_sort(struct node *list, int length)
{
    if (length < 2)
        return list;
    struct node *last = list;
    for (int i = 1; i < length / 2; i++)
        last = last->next;
    struct node *second = last->next;
    last->next = NULL;
    return list_merge(list_sort(list, length / 2), list_sort(second, length - length / 2));
}

BENCH_OPAQUE static struct node *list_reverse(struct node *list)
{
    struct node *done = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static uint16_t list_turn(struct state *state, uint64_t turn, uint16_t crc)
{
    for (int i = 0; i < NODES; i++) {
        state->nodes[i].next = i + 1 < NODES ? &state->nodes[i + 1] : NULL;
        state->nodes[i].key = (int16_t)((i * 7919 + (int)(turn & 255) * 31) % 1009);
        state->nodes[i].tag = (int16_t)i;
    }
    struct node *list = list_reverse(&state->nodes[0]);
    for (int wanted = 0; wanted < 8; wanted++) {
        int steps = 0;
        for (struct node *node = list; node && node->key != wanted * 100; node = node->next)
            steps++;
        crc = crc_update(crc, (uint32_t)steps);
    }
    list = list_sort(list, NODES);
    for (struct node *node = list; node->next; node = node->next) {
        if (node->key > node->next->key)
            bench_fail("the list is not sorted");
    }
    return crc_update(crc, (uint32_t)list->key << 16 | (uint16_t)list->tag);
}

BENCH_OPAQUE static void matrix_product(struct state *state)
{
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            int32_t sum = 0;
            for (int k = 0; k < SIDE; k++)
                sum += state->a[i][k] * state->b[k][j];
            state->c[i][j] = sum;
        }
    }
}

static uint16_t matrix_turn(struct state *state, uint64_t turn, uint16_t crc)
{
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            state->a[i][j] = (int16_t)((i * 3 + j + (int)(turn & 63)) & 127);
            state->b[i][j] = (int16_t)((i - j * 5) & 255);
        }
    }
    matrix_product(state);
    int32_t above = 0;
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++)
            above += state->c[i][j] > 60000 ? 10 : state->c[i][j] & 3;
        crc = crc_update(crc, (uint32_t)state->c[i][i]);
    }
    return crc_update(crc, (uint32_t)above);
}

enum scan {
    SCAN_START,
    SCAN_SIGN,
    SCAN_INTEGER,
    SCAN_POINT,
    SCAN_FRACTION,
    SCAN_EXPONENT,
    SCAN_BAD
};

static enum scan scan_step(enum scan state, char c)
{
    int digit = c >= '0' && c <= '9';
    switch (state) {
    case SCAN_START:
        return digit ? SCAN_INTEGER : c == '-' || c == '+' ? SCAN_SIGN : SCAN_BAD;
    case SCAN_SIGN:
        return digit ? SCAN_INTEGER : SCAN_BAD;
    case SCAN_INTEGER:
        return digit ? SCAN_INTEGER : c == '.' ? SCAN_POINT : c == 'e' ? SCAN_EXPONENT : SCAN_BAD;
    case SCAN_POINT:
    case SCAN_FRACTION:
        return digit ? SCAN_FRACTION : c == 'e' ? SCAN_EXPONENT : SCAN_BAD;
    case SCAN_EXPONENT:
        return digit || c == '-' ? SCAN_EXPONENT : SCAN_BAD;
    default:
        return SCAN_BAD;
    }
}

BENCH_OPAQUE static void text_scan(const char *text, uint32_t counts[SCAN_BAD + 1])
{
    enum scan state = SCAN_START;
    for (; *text; text++) {
        if (*text == ',') {
            counts[state]++;
            state = SCAN_START;
        } else {
            state = scan_step(state, *text);
        }
    }
}

static uint16_t scan_turn(struct state *state, uint64_t turn, uint16_t crc)
{
    uint32_t counts[SCAN_BAD + 1] = {0};
    char saved = state->text[turn % TEXT];
    state->text[turn % TEXT] = 'x';
    text_scan(state->text, counts);
    state->text[turn % TEXT] = saved;
    for (int i = 0; i <= SCAN_BAD; i++)
        crc = crc_update(crc, counts[i]);
    return crc;
}

static uint64_t run(uint64_t count)
{
    static struct state state;
    static const char *const pieces[] = {"12,", "-7.25,", "+3e-4,", "9.,", ".5,", "1.5e7,", "a1,"};
    uint64_t sum = 1, random = 42;

    while (strlen(state.text) + 8 < TEXT)
        strcat(state.text, pieces[bench_random(&random) % 7]);
    bench_start();
    uint16_t crc = 0;
    for (uint64_t i = 0; i < count; i++) {
        crc = list_turn(&state, i, crc);
        crc = matrix_turn(&state, i, crc);
        crc = scan_turn(&state, i, crc);
    }
    bench_stop();
    sum = bench_mix(sum, crc);
    return bench_mix(sum, (uint64_t)state.c[3][5]);
}

const struct bench_program bench_kernels = {"kernels", "int", 1, 60000, 5000, 40, run};
