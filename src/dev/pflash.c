#include "dev/pflash.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define CHIPS 2u
#define BUFFER_LOG2 11u /* of one chip's write buffer */
#define BUFFER_SIZE (CHIPS << BUFFER_LOG2)
#define WORD 4u /* bytes of the bus, a half for each chip */

enum command {
    CMD_LOCK_CONFIRM = 0x01,
    CMD_PROGRAM_ALT = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK_SETUP = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFER = 0xe8,
    CMD_READ_ARRAY = 0xff,
};

enum {
    STATUS_READY = 0x80,
    STATUS_ERASE_FAILED = 0x20,
    STATUS_PROGRAM_FAILED = 0x10,
    STATUS_SEQUENCE = STATUS_ERASE_FAILED | STATUS_PROGRAM_FAILED,
    STATUS_LOCKED = 0x02,
};

/* What the next write is. */
enum step { STEP_COMMAND, STEP_SECOND, STEP_DATA, STEP_BUFFER_CONFIRM, STEP_COUNT };

/* What reads give. */
enum mode { MODE_ARRAY, MODE_STATUS, MODE_ID, MODE_QUERY, MODE_COUNT };

struct pflash {
    struct device dev;
    struct addrspace *as;
    gpa_t base;
    uint64_t size;
    const uint8_t *memory; /* the contents, in the address space */
    struct block *disk;    /* or NULL */
    bool disk_is_old;      /* the contents are of a saved machine, the disk's are not */
    /* state */
    uint8_t mode, step, status;
    uint8_t command;             /* of which `step` is a part */
    uint32_t count;              /* words that the buffer still takes */
    uint64_t buffer_at;          /* offset in the flash; known from the first word on */
    bool buffer_open;            /* a word has been written to it */
    uint8_t buffer[BUFFER_SIZE]; /* ones where nothing was written */
};

static struct pflash *pflash_of(struct device *dev)
{
    return container_of(dev, struct pflash, dev);
}

/* ---- what reads give ---- */

/* CFI query data of one chip (JESD68), word `i` of it. */
static uint8_t pflash_query(const struct pflash *f, uint64_t i)
{
    unsigned sectors = (unsigned)(f->size / PFLASH_SECTOR) - 1;
    unsigned sector = (unsigned)(PFLASH_SECTOR / CHIPS / 256);
    const uint8_t table[] = {
        /* 0x10: command set 1 (Intel), its own table at 0x31, no other command set */
        'Q', 'R', 'Y', 1, 0, 0x31, 0, 0, 0, 0, 0,
        /* 0x1b: 4.5 to 5.5 V, no programming voltage */
        0x45, 0x55, 0, 0,
        /* 0x1f: typical times of word, buffer, erase, chip erase; then the largest, as powers */
        7, 7, 10, 0, 4, 4, 4, 0,
        /* 0x27: size of a chip, x8/x16, write buffer; regions of sectors: one */
        (uint8_t)__builtin_ctzll(f->size / CHIPS), 2, 0, BUFFER_LOG2, 0, 1,
        /* 0x2d: its number of sectors - 1, their size / 256 */
        (uint8_t)sectors, (uint8_t)(sectors >> 8), (uint8_t)sector, (uint8_t)(sector >> 8),
        /* 0x31: version 1.0, nothing optional: sectors cannot be locked */
        'P', 'R', 'I', '1', '0', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return i >= 0x10 && i - 0x10 < sizeof table ? table[i - 0x10] : 0;
}

/* Manufacturer Intel, its 128 Mbit chip; all sectors read as unlocked. */
static uint8_t pflash_id(uint64_t i)
{
    return i % 256 == 0 ? 0x89 : i % 256 == 1 ? 0x18 : 0;
}

/* The half-word that each chip answers at a word of the bus. */
static uint16_t pflash_answer(const struct pflash *f, uint64_t word)
{
    switch (f->mode) {
    case MODE_ID:
        return pflash_id(word);
    case MODE_QUERY:
        return pflash_query(f, word);
    default:
        return f->status;
    }
}

static uint64_t pflash_read(struct device *dev, uint64_t offset, unsigned size)
{
    const struct pflash *f = pflash_of(dev);
    uint8_t bytes[8] = {0};
    if (f->mode == MODE_ARRAY) {
        memcpy(bytes, f->memory + offset, size);
        return le64_get(bytes);
    }
    for (unsigned i = 0; i < size; i++) {
        uint16_t answer = pflash_answer(f, (offset + i) / WORD);
        bytes[i] = (uint8_t)(answer >> (offset + i) % (WORD / CHIPS) * 8);
    }
    return le64_get(bytes);
}

/* ---- changing the contents ---- */

/*
 * Brings the disk up to date: whole sectors of the disk around the change, or all of it after saved
 * state was loaded.
 */
static int pflash_store(struct pflash *f, uint64_t offset, uint64_t len)
{
    if (!f->disk)
        return 0;
    uint64_t start = f->disk_is_old ? 0 : align_down(offset, BLOCK_SECTOR);
    uint64_t end = f->disk_is_old ? f->size : align_up(offset + len, BLOCK_SECTOR);
    int rc = block_write(f->disk, start, f->memory + start, end - start);
    f->disk_is_old &= rc != 0;
    return rc;
}

/* False, with the status that says why: the flash cannot be written to, or its disk failed. */
static bool pflash_change(struct pflash *f, uint64_t offset, const uint8_t *data, uint64_t len,
                          uint8_t failure)
{
    if (f->disk && block_readonly(f->disk)) {
        f->status |= failure | STATUS_LOCKED;
        return false;
    }
    addrspace_load(f->as, f->base + offset, data, len);
    if (!pflash_store(f, offset, len))
        return true;
    f->status |= failure;
    return false;
}

/* Programming clears bits, and only erasing sets them. len: at most BUFFER_SIZE. */
static void pflash_program(struct pflash *f, uint64_t offset, const uint8_t *data, uint64_t len)
{
    uint8_t now[BUFFER_SIZE];
    for (uint64_t i = 0; i < len; i++)
        now[i] = f->memory[offset + i] & data[i];
    pflash_change(f, offset, now, len, STATUS_PROGRAM_FAILED);
}

static void pflash_erase(struct pflash *f, uint64_t offset)
{
    uint8_t ones[4096];
    memset(ones, 0xff, sizeof ones);
    offset = align_down(offset, PFLASH_SECTOR);
    for (uint64_t end = offset + PFLASH_SECTOR; offset < end; offset += sizeof ones)
        if (!pflash_change(f, offset, ones, sizeof ones, STATUS_ERASE_FAILED))
            return;
}

/* ---- commands ---- */

static void pflash_end(struct pflash *f, enum mode mode)
{
    f->mode = (uint8_t)mode;
    f->step = STEP_COMMAND;
}

static void pflash_fail(struct pflash *f)
{
    f->status |= STATUS_SEQUENCE;
    pflash_end(f, MODE_STATUS);
}

static void pflash_buffer_begin(struct pflash *f)
{
    f->buffer_open = false;
    memset(f->buffer, 0xff, sizeof f->buffer);
}

/* The first write of a command. Those that are not known leave the array to be read. */
static void pflash_first(struct pflash *f, uint8_t command)
{
    f->command = command;
    switch (command) {
    case CMD_BUFFER:
        pflash_buffer_begin(f);
        __attribute__((fallthrough));
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
    case CMD_ERASE:
    case CMD_LOCK_SETUP:
        f->mode = MODE_STATUS;
        f->step = STEP_SECOND;
        break;
    case CMD_READ_STATUS:
        pflash_end(f, MODE_STATUS);
        break;
    case CMD_READ_ID:
        pflash_end(f, MODE_ID);
        break;
    case CMD_QUERY:
        pflash_end(f, MODE_QUERY);
        break;
    case CMD_CLEAR_STATUS:
        f->status = STATUS_READY;
        __attribute__((fallthrough));
    default:
        pflash_end(f, MODE_ARRAY);
        break;
    }
}

/* What follows the first write: data, a confirmation, or a number of words. */
static void pflash_second(struct pflash *f, uint64_t offset, const uint8_t *bytes, unsigned size)
{
    uint8_t low = bytes[0];
    if (f->command == CMD_PROGRAM || f->command == CMD_PROGRAM_ALT) {
        pflash_program(f, offset, bytes, size);
        pflash_end(f, MODE_STATUS);
    } else if (f->command == CMD_BUFFER && le16_get(bytes) < BUFFER_SIZE / WORD) {
        f->count = le16_get(bytes) + 1u;
        f->step = STEP_DATA;
    } else if (f->command == CMD_ERASE && low == CMD_CONFIRM) {
        pflash_erase(f, offset);
        pflash_end(f, MODE_STATUS);
    } else if (f->command == CMD_LOCK_SETUP && (low == CMD_CONFIRM || low == CMD_LOCK_CONFIRM)) {
        pflash_end(f, MODE_STATUS);
    } else if (low == CMD_READ_ARRAY) {
        pflash_end(f, MODE_ARRAY);
    } else {
        pflash_fail(f);
    }
}

/* One word for the buffer, whose place the first one says; all others must be near it. */
static void pflash_data(struct pflash *f, uint64_t offset, const uint8_t *bytes, unsigned size)
{
    if (!f->buffer_open)
        f->buffer_at = align_down(offset, BUFFER_SIZE);
    f->buffer_open = true;
    if (align_down(offset, BUFFER_SIZE) != f->buffer_at) {
        pflash_fail(f);
        return;
    }
    memcpy(f->buffer + (offset - f->buffer_at), bytes, size);
    if (!--f->count)
        f->step = STEP_BUFFER_CONFIRM;
}

static void pflash_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pflash *f = pflash_of(dev);
    uint8_t bytes[8];
    le64_put(bytes, value);
    switch (f->step) {
    case STEP_COMMAND:
        pflash_first(f, bytes[0]);
        break;
    case STEP_SECOND:
        pflash_second(f, offset, bytes, size);
        break;
    case STEP_DATA:
        pflash_data(f, offset, bytes, size);
        break;
    default:
        if (bytes[0] == CMD_CONFIRM) {
            pflash_program(f, f->buffer_at, f->buffer, BUFFER_SIZE);
            pflash_end(f, MODE_STATUS);
        } else {
            pflash_fail(f);
        }
        break;
    }
}

static const struct mmio_ops pflash_mmio = {
    .read = pflash_read,
    .write = pflash_write,
    .sizes = 1 | 2 | 4 | 8,
};

/* ---- life ---- */

static void pflash_reset(struct device *dev)
{
    struct pflash *f = pflash_of(dev);
    f->status = STATUS_READY;
    f->command = CMD_READ_ARRAY;
    f->count = 0;
    f->buffer_at = 0;
    pflash_buffer_begin(f);
    pflash_end(f, MODE_ARRAY);
    if (f->disk)
        block_flush(f->disk);
}

static int pflash_post_load(void *obj, struct error *err)
{
    struct pflash *f = obj;
    f->disk_is_old = true;
    if (f->mode >= MODE_COUNT || f->step >= STEP_COUNT || f->buffer_at % BUFFER_SIZE ||
        f->buffer_at >= f->size || (f->step == STEP_DATA && !f->count) ||
        f->count > BUFFER_SIZE / WORD)
        return error_set(err, EINVAL, "flash in an impossible state");
    return 0;
}

static const struct state_field pflash_fields[] = {
    STATE_FIELD(struct pflash, mode),
    STATE_FIELD(struct pflash, step),
    STATE_FIELD(struct pflash, status),
    STATE_FIELD(struct pflash, command),
    STATE_FIELD(struct pflash, count),
    STATE_FIELD(struct pflash, buffer_at),
    STATE_FIELD(struct pflash, buffer_open),
    STATE_ARRAY(struct pflash, buffer),
    STATE_END,
};

static const struct state_table pflash_state = {
    .name = "pflash",
    .version = 1,
    .size = sizeof(struct pflash),
    .fields = pflash_fields,
    .post_load = pflash_post_load,
};

static void pflash_free(struct device *dev)
{
    struct pflash *f = pflash_of(dev);
    if (f->disk)
        block_flush(f->disk);
    device_fini(dev);
    free(f);
}

static const struct device_ops pflash_ops = {
    .name = "pflash",
    .state = &pflash_state,
    .reset = pflash_reset,
    .free = pflash_free,
};

/* Zeroes are there already, and cost nothing as long as nobody writes them. */
static void pflash_put(struct pflash *f, uint64_t at, const uint8_t *data, uint64_t len)
{
    static const uint8_t zeroes[4096];
    for (uint64_t i = 0; i < len; i += sizeof zeroes)
        if (memcmp(data + i, zeroes, sizeof zeroes))
            addrspace_load(f->as, f->base + at + i, data + i, sizeof zeroes);
}

static int pflash_fill(struct pflash *f, struct error *err)
{
    uint8_t *sector = malloc(PFLASH_SECTOR);
    int rc = sector ? 0 : -ENOMEM;
    for (uint64_t at = 0; !rc && at < f->size; at += PFLASH_SECTOR) {
        rc = block_read(f->disk, at, sector, PFLASH_SECTOR);
        if (!rc)
            pflash_put(f, at, sector, PFLASH_SECTOR);
    }
    free(sector);
    return rc ? error_set(err, -rc, "%s: cannot be read: %s", block_path(f->disk), strerror(-rc))
              : 0;
}

static int pflash_check_disk(const struct block *disk, uint64_t size, struct error *err)
{
    if (!disk || block_size(disk) == size)
        return 0;
    return error_set(err, EINVAL,
                     "%s: has %llu bytes, but flash has %llu: give a file of that size, such as "
                     "those of Debian's package qemu-efi-riscv64",
                     block_path(disk), (unsigned long long)block_size(disk),
                     (unsigned long long)size);
}

struct device *pflash_new(struct addrspace *as, gpa_t base, uint64_t size, const char *id,
                          struct block *disk, struct error *err)
{
    if (pflash_check_disk(disk, size, err))
        return NULL;
    struct pflash *f = calloc(1, sizeof *f);
    if (!f) {
        error_set(err, ENOMEM, "out of memory for flash");
        return NULL;
    }
    device_init(&f->dev, &pflash_ops, "%s", id);
    f->as = as;
    f->base = base;
    f->size = size;
    f->disk = disk;
    int rc = addrspace_add_flash(as, base, size, &pflash_mmio, &f->dev, err);
    f->memory = rc ? NULL : addrspace_readable(as, base, size);
    if (rc || (disk && pflash_fill(f, err))) {
        pflash_free(&f->dev);
        return NULL;
    }
    pflash_reset(&f->dev);
    return &f->dev;
}
