#include "engine/dbt/warm.h"

#include <stdlib.h>

static struct warm_place *warm_place(struct warm *w, uint64_t pc)
{
    return &w->place[pc / 2 % WARM_PLACES];
}

uint32_t warm_add(struct warm *w, uint64_t pc, uint32_t by)
{
    struct warm_place *p = warm_place(w, pc);
    if (p->pc != pc && p->count > by) {
        p->count -= by;
        return by;
    }
    if (p->pc != pc)
        *p = (struct warm_place){.pc = pc};
    p->count += by;
    return p->count;
}

void warm_remove(struct warm *w, uint64_t pc)
{
    struct warm_place *p = warm_place(w, pc);
    if (p->pc == pc)
        *p = (struct warm_place){0};
}

static int warm_order(const void *a, const void *b)
{
    const struct warm_place *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->pc < y->pc ? -1 : x->pc > y->pc;
}

unsigned warm_sort(struct warm *w, uint32_t hot, unsigned *hot_count)
{
    unsigned count = 0;
    for (unsigned i = 0; i < WARM_PLACES; i++)
        if (w->place[i].count)
            w->place[count++] = w->place[i];
    qsort(w->place, count, sizeof w->place[0], warm_order);
    for (unsigned i = count; i < WARM_PLACES; i++)
        w->place[i].count = 0;
    for (*hot_count = 0; *hot_count < count && w->place[*hot_count].count >= hot;)
        ++*hot_count;
    return count;
}
