/* Everyday code in the proportions of old business programs: small functions, records that are
 * copied and compared, strings of 30 bytes, branches on enumerations. The unit is one record. */
#include "bench.h"

#include <string.h>

enum kind { KIND_NEW, KIND_OPEN, KIND_PAID, KIND_LATE, KIND_CLOSED, KINDS };

struct record {
    struct record *next;
    enum kind kind;
    int amount;
    char name[32];
    int history[4];
};

enum { RECORDS = 64, ROWS = 16, COLUMNS = 24 };

struct ledger {
    struct record records[RECORDS];
    struct record scratch;
    int table[ROWS][COLUMNS];
    int balance;
};

static const char names[4][32] = {
    "A CUSTOMER OF THE FIRST KIND..", "A CUSTOMER OF THE FIRST KIND.!",
    "A CUSTOMER OF THE SECOND KIND.", "SOMEBODY ELSE WITH LONG NAMES."};

BENCH_OPAQUE static enum kind kind_after(enum kind kind, int amount)
{
    switch (kind) {
    case KIND_NEW:
        return KIND_OPEN;
    case KIND_OPEN:
        return amount > 500 ? KIND_LATE : KIND_PAID;
    case KIND_LATE:
        return amount % 3 ? KIND_PAID : KIND_LATE;
    case KIND_PAID:
        return KIND_CLOSED;
    default:
        return KIND_NEW;
    }
}

BENCH_OPAQUE static int name_order(const struct record *a, const struct record *b)
{
    int order = strcmp(a->name, b->name);
    return order < 0 ? -1 : order > 0;
}

BENCH_OPAQUE static void record_charge(struct record *record, int amount, int *balance)
{
    record->amount += amount;
    record->history[amount & 3] = record->amount;
    if (record->amount > 1000) {
        *balance += record->amount / 7;
        record->amount -= 1000;
    }
}

BENCH_OPAQUE static void table_post(int table[ROWS][COLUMNS], int row, int column, int value)
{
    table[row][column] = value;
    table[row][column + 1] = table[row][column] + 1;
    for (int i = 0; i < 3; i++)
        table[(row + i) % ROWS][column + 2] += value - i;
}

BENCH_OPAQUE static void ledger_step(struct ledger *ledger, uint64_t step)
{
    struct record *record = &ledger->records[step % RECORDS];
    struct record *next = record->next;

    ledger->scratch = *record;
    strcpy(ledger->scratch.name, names[(step ^ step >> 5) & 3]);
    record_charge(&ledger->scratch, (int)(step % 613), &ledger->balance);
    ledger->scratch.kind = kind_after(record->kind, ledger->scratch.amount);
    if (name_order(&ledger->scratch, next) < 0)
        table_post(ledger->table, (int)(step % ROWS), (int)(step % (COLUMNS - 2)),
                   ledger->scratch.amount);
    else
        ledger->balance -= next->history[step & 3] & 15;
    *record = ledger->scratch;
}

static void ledger_init(struct ledger *ledger)
{
    memset(ledger, 0, sizeof(*ledger));
    for (int i = 0; i < RECORDS; i++) {
        ledger->records[i].next = &ledger->records[(i * 5 + 1) % RECORDS];
        ledger->records[i].kind = (enum kind)(i % KINDS);
        strcpy(ledger->records[i].name, names[i % 4]);
    }
}

static uint64_t run(uint64_t count)
{
    static struct ledger ledger;
    uint64_t sum = 1;

    ledger_init(&ledger);
    bench_start();
    for (uint64_t i = 0; i < count; i++)
        ledger_step(&ledger, i);
    bench_stop();

    for (int i = 0; i < RECORDS; i++) {
        sum = bench_mix(sum, (uint64_t)ledger.records[i].amount);
        sum = bench_mix(sum, (uint64_t)ledger.records[i].kind);
        sum = bench_mix(sum, (uint64_t)ledger.records[i].name[29]);
    }
    for (int i = 0; i < ROWS * COLUMNS; i++)
        sum = bench_mix(sum, (uint64_t)ledger.table[i / COLUMNS][i % COLUMNS]);
    return bench_mix(sum, (uint64_t)ledger.balance);
}

const struct bench_program bench_records = {"records", "int", 1, 15000000, 1200000, 20000, run};
