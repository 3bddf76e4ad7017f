/*
 * Works on a disk for the tests in Python, which make it and look at it with other programs.
 *
 *     exercise random IMAGE FORMAT SHADOW SEED COUNT        one request after the other
 *     exercise queue IMAGE FORMAT SHADOW SEED COUNT RING    many in flight; RING 0: no kernel's
 * ring exercise kill IMAGE FORMAT STATE SEED                 writes until it is killed exercise
 * verify IMAGE FORMAT STATE                    is all there that was flushed?
 *
 * SHADOW is a file of the disk's size that gets the same contents. Exit code 1 with a sentence when
 * something is wrong.
 */
#include "base/bits.h"
#include "block/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_LEN (384u << 10)

static void die(const char *what, uint64_t at, int rc)
{
    fprintf(stderr, "%s at %llu: %s\n", what, (unsigned long long)at, rc ? strerror(-rc) : "wrong");
    exit(1);
}

static uint64_t rng(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static struct block *open_disk(const char *path, const char *format, bool readonly)
{
    struct error err;
    const struct block_options options = {.format = format, .readonly = readonly};
    struct block *b = block_open(path, &options, &err);
    if (!b) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return b;
}

/* ---- one after the other ---- */

struct work {
    struct block *disk;
    uint8_t *shadow; /* mapped */
    uint64_t seed;
};

static void fill(uint64_t *seed, uint8_t *buf, size_t len)
{
    uint64_t word = rng(seed);
    if (word % 8 == 0)
        word = 0;
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(word >> (i % 8 * 8)) + (word ? (uint8_t)(i >> 9) : 0);
}

static void work_write(struct work *w, uint64_t at, size_t len)
{
    static uint8_t buf[MAX_LEN];
    fill(&w->seed, buf, len);
    /* In up to four pieces. */
    struct iovec iov[4];
    size_t done = 0;
    for (unsigned i = 0; i < 4; i++) {
        size_t piece = i == 3 ? len - done : rng(&w->seed) % (len - done + 1);
        iov[i] = (struct iovec){buf + done, piece};
        done += piece;
    }
    int rc = block_writev(w->disk, at, iov, 4);
    if (rc)
        die("write", at, rc);
    memcpy(w->shadow + at, buf, len);
}

static void work_read(struct work *w, uint64_t at, size_t len)
{
    static uint8_t buf[MAX_LEN];
    int rc = block_read(w->disk, at, buf, len);
    if (rc)
        die("read", at, rc);
    for (size_t i = 0; i < len; i++)
        if (buf[i] != w->shadow[at + i])
            die("read: byte", at + i, 0);
}

/* What was discarded may read as it was, or as zeroes. */
static void work_discard(struct work *w, uint64_t at, size_t len)
{
    static uint8_t buf[MAX_LEN];
    int rc = block_discard(w->disk, at, len);
    if (rc && rc != -ENOTSUP)
        die("discard", at, rc);
    rc = block_read(w->disk, at, buf, len);
    if (rc)
        die("read of what was discarded", at, rc);
    for (size_t i = 0; i < len; i++)
        if (buf[i] && buf[i] != w->shadow[at + i])
            die("discard: byte", at + i, 0);
    memcpy(w->shadow + at, buf, len);
}

static void work_step(struct work *w)
{
    uint64_t size = block_size(w->disk), r = rng(&w->seed);
    uint64_t most = r >> 8 & 1 ? MAX_LEN : r >> 9 & 1 ? 70000 : 9000;
    uint64_t unit = r >> 10 & 3 ? 512 : 1;
    uint64_t at = rng(&w->seed) % size / unit * unit;
    uint64_t len = rng(&w->seed) % most / unit * unit + unit;
    len = len < size - at ? len : size - at;
    switch (r % 16) {
    default:
        work_write(w, at, len);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        work_read(w, at, len);
        break;
    case 12:
        work_discard(w, at, len);
        break;
    case 13:
    case 14: {
        int rc = block_write_zeroes(w->disk, at, len, r % 16 == 13);
        if (rc)
            die("zeroes", at, rc);
        memset(w->shadow + at, 0, len);
        break;
    }
    case 15:
        if (block_flush(w->disk))
            die("flush", 0, -EIO);
    }
}

static uint8_t *map_file(const char *path, uint64_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || ((uint64_t)st.st_size < size && ftruncate(fd, (off_t)size)))
        die(path, 0, -errno);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        die(path, 0, -errno);
    close(fd);
    return p;
}

static int run_random(char **argv)
{
    struct work w = {.disk = open_disk(argv[0], argv[1], false),
                     .seed = strtoull(argv[3], NULL, 0)};
    w.shadow = map_file(argv[2], block_size(w.disk));
    for (uint64_t n = strtoull(argv[4], NULL, 0); n; n--) {
        work_step(&w);
        if (rng(&w.seed) % 512)
            continue;
        block_free(w.disk);
        w.disk = open_disk(argv[0], argv[1], false);
    }
    block_free(w.disk);
    w.disk = open_disk(argv[0], argv[1], true);
    for (uint64_t at = 0; at < block_size(w.disk); at += MAX_LEN) {
        uint64_t left = block_size(w.disk) - at;
        work_read(&w, at, left < MAX_LEN ? left : MAX_LEN);
    }
    block_free(w.disk);
    return 0;
}

/* ---- many in flight ---- */

#define SLOTS 24u
#define UNIT 4096u /* slot i has the units whose number % SLOTS is i */

struct queue_work;

struct slot {
    struct block_request r;
    struct queue_work *w;
    struct iovec iov;
    uint64_t index, seed, left;
    uint8_t buf[UNIT];
};

struct queue_work {
    struct block_queue *queue;
    uint8_t *shadow;
    uint64_t units;
    struct slot slots[SLOTS];
    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned running;
};

static void slot_next(struct slot *s)
{
    uint64_t own = s->w->units / SLOTS, r = rng(&s->seed);
    uint64_t unit = (r >> 8) % own * SLOTS + s->index;
    static const enum block_op ops[8] = {BLOCK_WRITE, BLOCK_WRITE, BLOCK_WRITE, BLOCK_READ,
                                         BLOCK_READ,  BLOCK_READ,  BLOCK_FLUSH, BLOCK_WRITE_ZEROES};
    s->r.op = ops[r % 8];
    s->r.offset = unit * UNIT;
    s->r.length = UNIT;
    s->r.unmap = r >> 7 & 1;
    if (s->r.op == BLOCK_WRITE) {
        fill(&s->seed, s->buf, UNIT);
        memcpy(s->w->shadow + s->r.offset, s->buf, UNIT);
    }
    if (s->r.op == BLOCK_WRITE_ZEROES)
        memset(s->w->shadow + s->r.offset, 0, UNIT);
    block_queue_submit(s->w->queue, &s->r);
    block_queue_kick(s->w->queue);
}

static void slot_done(struct block_request *r, int rc)
{
    struct slot *s = container_of(r, struct slot, r);
    if (rc)
        die("request", r->offset, rc);
    if (r->op == BLOCK_READ && memcmp(s->buf, s->w->shadow + r->offset, UNIT))
        die("read in flight", r->offset, 0);
    if (--s->left) {
        slot_next(s);
        return;
    }
    pthread_mutex_lock(&s->w->lock);
    s->w->running--;
    pthread_cond_signal(&s->w->done);
    pthread_mutex_unlock(&s->w->lock);
}

static int run_queue(char **argv)
{
    struct block *b = open_disk(argv[0], argv[1], false);
    static struct queue_work w;
    w.queue = block_queue_new(b, argv[5][0] != '0', NULL);
    w.shadow = map_file(argv[2], block_size(b));
    w.units = block_size(b) / UNIT;
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    w.running = SLOTS;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *s = &w.slots[i];
        s->w = &w;
        s->index = i;
        s->seed = strtoull(argv[3], NULL, 0) * SLOTS + i;
        s->left = strtoull(argv[4], NULL, 0) / SLOTS + 1;
        s->iov = (struct iovec){s->buf, UNIT};
        s->r = (struct block_request){.iov = &s->iov, .iov_count = 1, .done = slot_done};
        slot_next(s);
    }
    pthread_mutex_lock(&w.lock);
    while (w.running)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    printf("ring: %s\n", block_queue_has_ring(w.queue) ? "yes" : "no");
    block_queue_free(w.queue);
    block_free(b);
    return 0;
}

/* ---- until killed ---- */

/*
 * Every unit of the disk has versions. Version v is a unit of words that name the unit and v, or
 * zeroes if v is a multiple of 5. After a kill a unit must hold a version between the last one that
 * was flushed and the last one that was begun, each sector by itself.
 */
struct state {
    _Atomic uint32_t begun, completed, flushed;
};

#define KILL_SLOTS 8u

struct kill_work;

struct kill_slot {
    struct block_request r;
    struct kill_work *w;
    struct iovec iov;
    uint64_t index, seed, unit;
    uint32_t version;
    uint64_t words[UNIT / 8];
};

struct kill_work {
    struct block_queue *queue;
    struct state *state;
    uint64_t units;
    struct kill_slot slots[KILL_SLOTS];
    struct block_request flush;
    uint32_t *seen; /* completed, when the flush began */
};

static void kill_next(struct kill_slot *s)
{
    uint64_t r = rng(&s->seed);
    s->unit = (r >> 8) % (s->w->units / KILL_SLOTS) * KILL_SLOTS + s->index;
    struct state *st = &s->w->state[s->unit];
    s->version = atomic_load(&st->begun) + 1;
    atomic_store(&st->begun, s->version);
    bool zero = s->version % 5 == 0;
    s->r.op = zero ? BLOCK_WRITE_ZEROES : BLOCK_WRITE;
    s->r.unmap = r & 1;
    s->r.offset = s->unit * UNIT;
    s->r.length = UNIT;
    for (unsigned i = 0; i < UNIT / 8; i++)
        s->words[i] = s->unit << 32 | s->version;
    block_queue_submit(s->w->queue, &s->r);
    block_queue_kick(s->w->queue);
}

static void kill_done(struct block_request *r, int rc)
{
    struct kill_slot *s = container_of(r, struct kill_slot, r);
    if (rc)
        die("request", r->offset, rc);
    atomic_store(&s->w->state[s->unit].completed, s->version);
    kill_next(s);
}

static void kill_flush(struct kill_work *w)
{
    for (uint64_t i = 0; i < w->units; i++)
        w->seen[i] = atomic_load(&w->state[i].completed);
    block_queue_submit(w->queue, &w->flush);
}

static void kill_flushed(struct block_request *r, int rc)
{
    struct kill_work *w = container_of(r, struct kill_work, flush);
    if (rc)
        die("flush", 0, rc);
    for (uint64_t i = 0; i < w->units; i++)
        atomic_store(&w->state[i].flushed, w->seen[i]);
    kill_flush(w);
}

static int run_kill(char **argv)
{
    struct block *b = open_disk(argv[0], argv[1], false);
    static struct kill_work w;
    w.units = block_size(b) / UNIT;
    w.state = (struct state *)(void *)map_file(argv[2], w.units * sizeof(struct state));
    w.seen = calloc(w.units, sizeof *w.seen);
    w.queue = block_queue_new(b, true, NULL);
    w.flush = (struct block_request){.op = BLOCK_FLUSH, .done = kill_flushed};
    puts("writing");
    fflush(stdout);
    for (unsigned i = 0; i < KILL_SLOTS; i++) {
        struct kill_slot *s = &w.slots[i];
        s->w = &w;
        s->index = i;
        s->seed = strtoull(argv[3], NULL, 0) * KILL_SLOTS + i;
        s->iov = (struct iovec){s->words, UNIT};
        s->r = (struct block_request){.iov = &s->iov, .iov_count = 1, .done = kill_done};
        kill_next(s);
    }
    kill_flush(&w);
    while (pause() != 0)
        ;
    return 0;
}

static uint32_t verify_sector(uint64_t unit, const uint64_t *words, const struct state *st)
{
    uint32_t from = atomic_load(&st->flushed), to = atomic_load(&st->begun);
    for (unsigned i = 1; i < BLOCK_SECTOR / 8; i++)
        if (words[i] != words[0])
            die("a sector is of two versions", unit * UNIT, 0);
    if (!words[0]) {
        uint32_t last = to - to % 5;
        if (last < from)
            die("a unit is zeroes, which it was before the flush", unit * UNIT, 0);
        return last;
    }
    uint32_t version = (uint32_t)words[0];
    if (words[0] >> 32 != unit || version < from || version > to || version % 5 == 0) {
        fprintf(stderr, "version %u of unit %llu, flushed %u, begun %u\n", version,
                (unsigned long long)(words[0] >> 32), from, to);
        die("a unit has the wrong version", unit * UNIT, 0);
    }
    return version;
}

/* The oldest version in it: a unit that was being written may have sectors of several. */
static uint32_t verify_unit(uint64_t unit, const uint64_t *words, const struct state *st)
{
    uint32_t oldest = UINT32_MAX;
    for (unsigned i = 0; i < UNIT / 8; i += BLOCK_SECTOR / 8) {
        uint32_t version = verify_sector(unit, words + i, st);
        oldest = version < oldest ? version : oldest;
    }
    return oldest;
}

/* What is there counts as flushed from now on. */
static int run_verify(char **argv)
{
    struct block *b = open_disk(argv[0], argv[1], true);
    uint64_t units = block_size(b) / UNIT, flushed = 0, begun = 0;
    struct state *state = (struct state *)(void *)map_file(argv[2], units * sizeof(struct state));
    for (uint64_t i = 0; i < units; i++) {
        uint64_t words[UNIT / 8];
        int rc = block_read(b, i * UNIT, words, sizeof words);
        if (rc)
            die("read", i * UNIT, rc);
        flushed += atomic_load(&state[i].flushed);
        begun += atomic_load(&state[i].begun);
        uint32_t version = verify_unit(i, words, &state[i]);
        atomic_store(&state[i].flushed, version);
        atomic_store(&state[i].completed, version);
    }
    block_free(b);
    printf("%llu versions flushed of %llu\n", (unsigned long long)flushed,
           (unsigned long long)begun);
    return 0;
}

static int run_wipe(char **argv)
{
    struct block *b = open_disk(argv[0], argv[1], false);
    int rc = block_write_zeroes(b, 0, block_size(b), true);
    if (rc)
        die("zeroes", 0, rc);
    block_free(b);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int words;
        int (*run)(char **argv);
    } modes[] = {
        {"random", 5, run_random}, {"queue", 6, run_queue},   {"wipe", 2, run_wipe},
        {"kill", 4, run_kill},     {"verify", 3, run_verify},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        if (argc == modes[i].words + 2 && !strcmp(argv[1], modes[i].name))
            return modes[i].run(argv + 2);
    fprintf(stderr, "see the head of this program's source\n");
    return 2;
}
