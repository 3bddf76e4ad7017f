/* A hash map with open addressing, 2^18 slots of 16 bytes, half full: insertions, searches and
 * removals in random order. The unit is one operation. */
#include "bench.h"

enum { SLOTS = 1 << 18, KEYS = SLOTS / 2 };

struct slot {
    /* 0 when free. */
    uint64_t key;
    uint64_t value;
};

static uint64_t slot_of(uint64_t key)
{
    return (key * UINT64_C(0x9e3779b97f4a7c15)) >> 46;
}

BENCH_OPAQUE static struct slot *map_find(struct slot *map, uint64_t key)
{
    uint64_t i = slot_of(key);
    while (map[i].key != key && map[i].key != 0)
        i = (i + 1) % SLOTS;
    return &map[i];
}

/* Moves back what follows, so that every search still ends at a free slot. */
BENCH_OPAQUE static void map_remove(struct slot *map, struct slot *slot)
{
    uint64_t hole = (uint64_t)(slot - map);
    for (uint64_t i = (hole + 1) % SLOTS; map[i].key != 0; i = (i + 1) % SLOTS) {
        uint64_t home = slot_of(map[i].key);
        if ((i - home) % SLOTS >= (i - hole) % SLOTS) {
            map[hole] = map[i];
            hole = i;
        }
    }
    map[hole] = (struct slot){0, 0};
}

static uint64_t run(uint64_t count)
{
    struct slot *map = bench_memory(SLOTS * sizeof(*map));
    uint64_t sum = 1, random = 3, live = 0;
    /* A short run uses a few slots only. */
    uint64_t keys = count < KEYS ? count : KEYS;

    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bits = bench_random(&random);
        uint64_t key = (bits >> 8) % keys + 1;
        struct slot *slot = map_find(map, key);
        if (slot->key == 0) {
            *slot = (struct slot){key, bits & 255};
            live++;
        } else if ((bits & 7) == 0) {
            sum += slot->value;
            map_remove(map, slot);
            live--;
        } else {
            sum = bench_mix(sum, slot->value++);
        }
    }
    bench_stop();
    for (uint64_t i = 0; i < SLOTS && count >= KEYS; i++) {
        if (map[i].key && map_find(map, map[i].key) != &map[i])
            bench_fail("a key is not where a search finds it");
    }
    return bench_mix(sum, live);
}

const struct bench_program bench_hashmap = {"hashmap", "int", 1, 16000000, 1500000, 20000, run};
