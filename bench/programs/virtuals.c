/* Calls through tables of functions: objects of eight classes in random order, and a callback that
 * changes. The unit is one pass over 512 objects. */
#include "bench.h"

enum { CLASSES = 8, OBJECTS = 512 };

struct object;

struct class
{
    uint64_t (*measure)(const struct object *, uint64_t);
    void (*change)(struct object *, uint64_t);
};

struct object {
    const struct class *class;
    uint64_t width, height;
};

#define CLASS(n, formula, effect)                                   \
    static uint64_t measure_##n(const struct object *o, uint64_t x) \
    {                                                               \
        return formula;                                             \
    }                                                               \
    static void change_##n(struct object *o, uint64_t x)            \
    {                                                               \
        effect;                                                     \
    }

CLASS(0, o->width + x, o->width += x)
CLASS(1, o->width * o->height + x, o->height ^= x)
CLASS(2, (o->width ^ x) >> 1, o->width -= o->height + x)
CLASS(3, o->height - x, o->height = o->width + x)
CLASS(4, o->width + o->height * 3 - x, o->width = o->height << 1 ^ x)
CLASS(5, (o->width & o->height) + x, o->height += 7 + x)
CLASS(6, (o->width | o->height) - x, o->width ^= (o->height >> 3) - x)
CLASS(7, x * 5 + o->height, o->height -= x)

#define TABLE(n)                \
    {                           \
        measure_##n, change_##n \
    }
static const struct class classes[CLASSES] = {TABLE(0), TABLE(1), TABLE(2), TABLE(3),
                                              TABLE(4), TABLE(5), TABLE(6), TABLE(7)};

BENCH_OPAQUE static uint64_t keep_even(uint64_t sum, uint64_t value)
{
    return value & 1 ? sum + 1 : sum ^ value;
}

BENCH_OPAQUE static uint64_t keep_all(uint64_t sum, uint64_t value)
{
    return sum * 3 + value;
}

BENCH_OPAQUE static uint64_t pass(struct object *objects, uint64_t sum,
                                  uint64_t (*keep)(uint64_t, uint64_t))
{
    for (int i = 0; i < OBJECTS; i++) {
        struct object *object = &objects[i];
        sum = keep(sum, object->class->measure(object, sum & 255));
        object->class->change(object, sum & 15);
    }
    return sum;
}

static uint64_t run(uint64_t count)
{
    static struct object objects[OBJECTS];
    uint64_t sum = 1, random = 7;

    for (int i = 0; i < OBJECTS; i++) {
        uint64_t bits = bench_random(&random);
        objects[i] = (struct object){&classes[bits >> 61], bits & 1023, bits >> 10 & 1023};
    }
    bench_start();
    for (uint64_t i = 0; i < count; i++)
        sum = pass(objects, sum, i & 1 ? keep_even : keep_all);
    bench_stop();
    return bench_mix(1, sum);
}

const struct bench_program bench_virtuals = {"virtuals", "int", 1, 80000, 7000, 200, run};
