/*
 * Saved state as hostile input: a good state is changed as the input says, gets a new checksum so
 * that it reaches the loader, is loaded, and what could be loaded runs for a while. A refusal is a
 * sentence; nothing else may come of it.
 *
 * Input: byte 0 chooses the machine (bit 0: with firmware; bit 1: two harts) and whether the state
 * is cut (bit 2) or a piece of it repeated (bit 3); the next 3 bytes say where. The rest is groups
 * of 4 bytes: a 24-bit place and what is XORed there.
 */
#include "base/bits.h"
#include "base/state.h"
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define SAVE_AT 50000u /* ns */
#define RUN_ON 20000u
#define MACHINES 4
#define CHECKSUM 21u /* bytes of the record at the end of a state */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct base {
    uint8_t *data;
    size_t len;
};

/* What all inputs start from; made once. */
static struct {
    bool made;
    struct small_file guest, disk, state;
    struct base machines[MACHINES];
} fuzz;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/*
 * The guest: as a kernel (behind a Linux header's first word) and as firmware the same code. It
 * sets the serial port up, enables an interrupt and sends a byte, asks for a timer interrupt where
 * it may, then counts in memory for ever.
 */
static void make_guest(void)
{
    static const uint32_t code[] = {
        0x100002b7, /* lui  t0, 0x10000: serial port */
        0x00100313, /* li   t1, 1 */
        0x00628123, /* sb   t1, 2(t0) */
        0x00200393, /* li   t2, 2 */
        0x007280a3, /* sb   t2, 1(t0) */
        0x04100313, /* li   t1, 'A' */
        0x00628023, /* sb   t1, 0(t0) */
        0x0c0002b7, /* lui  t0, 0xc000: PLIC */
        0x00700313, /* li   t1, 7 */
        0x0262a423, /* sw   t1, 40(t0) */
        0x001012b7, /* lui  t0, 0x101: clock */
        0x0002a303, /* lw   t1, 0(t0) */
        0x0062a423, /* sw   t1, 8(t0) */
        0x00010297, /* auipc t0, 16 */
        0x00130313, /* 1: addi t1, t1, 1 */
        0x0062b023, /* sd   t1, 0(t0) */
        0xff9ff06f, /* j    1b */
    };
    uint8_t image[64 + sizeof code];
    static const uint64_t header[] = {0x0400006f, 0, 65536, 0, 2, 0, 0x5643534952, 0x05435352};
    for (size_t i = 0; i < 8; i++)
        le64_put(image + 8 * i, header[i]);
    for (size_t i = 0; i < sizeof code / 4; i++)
        le32_put(image + 64 + 4 * i, code[i]);
    small_put(&fuzz.guest, image, sizeof image);
}

static struct vm_config machine_config(unsigned which, uint64_t until)
{
    struct vm_config config = small_config(until);
    if (which & 1)
        config.firmware = fuzz.guest.path;
    else
        config.kernel = fuzz.guest.path;
    config.cpus = which & 2 ? 2 : 1;
    config.disks[0].path = fuzz.disk.path;
    config.disk_count = 1;
    return config;
}

static void make_base(unsigned which)
{
    char path[] = "/tmp/guise-fuzz-XXXXXX";
    must(mkdtemp(path), "no temporary directory");
    char file[sizeof path + 8];
    snprintf(file, sizeof file, "%s/state", path);

    struct vm_config config = machine_config(which, SAVE_AT);
    struct error err = {0};
    struct vm_result result;
    struct vm *vm = vm_new(&config, &err);
    must(vm && !vm_run(vm, &result, &err) && !vm_save(vm, file, &err), err.msg);
    vm_free(vm);

    FILE *f = fopen(file, "rbe");
    struct stat st;
    must(f && !fstat(fileno(f), &st), "the state is not there");
    struct base *base = &fuzz.machines[which];
    base->len = (size_t)st.st_size;
    base->data = malloc(base->len);
    must(base->data && fread(base->data, 1, base->len, f) == base->len, "the state is not read");
    fclose(f);
    unlink(file);
    rmdir(path);
}

static void make_all(void)
{
    static const uint8_t zeros[4096];
    small_open(&fuzz.guest);
    small_open(&fuzz.disk);
    small_open(&fuzz.state);
    make_guest();
    small_put(&fuzz.disk, zeros, sizeof zeros);
    for (unsigned i = 0; i < MACHINES; i++)
        make_base(i);
    fuzz.made = true;
}

/* The changed state with its checksum as the file to load. */
static void put_state(const uint8_t *data, size_t len)
{
    struct state_out out = {0};
    uint8_t sum[8];
    le64_put(sum, XXH3_64bits(data, len));
    state_save_bytes(&out, "checksum", sum, sizeof sum);
    uint8_t *whole = malloc(len + out.len);
    must(whole && out.len == CHECKSUM, "no memory for a state");
    memcpy(whole, data, len);
    memcpy(whole + len, out.data, out.len);
    small_put(&fuzz.state, whole, len + out.len);
    free(whole);
    state_out_free(&out);
}

static size_t place(const uint8_t *data, size_t len)
{
    return (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!fuzz.made)
        make_all();
    if (size < 4)
        return 0;
    unsigned which = data[0] % MACHINES;
    const struct base *base = &fuzz.machines[which];
    size_t body = base->len - CHECKSUM, len = body, at = place(data + 1, body);
    uint8_t *state = malloc(2 * body);
    must(state, "no memory for a state");
    memcpy(state, base->data, body);
    if (data[0] & 4) {
        len = at;
    } else if (data[0] & 8) { /* what comes before is there twice */
        memcpy(state + at, base->data, body);
        len = at + body;
    }
    for (size_t i = 4; i + 4 <= size && len; i += 4)
        state[place(data + i, len)] ^= data[i + 3];
    put_state(state, len);
    free(state);

    struct vm_config config = machine_config(which, SAVE_AT + RUN_ON);
    config.load = fuzz.state.path;
    struct vm_result result;
    struct error err;
    int rc = small_run(&config, &result, &err);
    must(rc || len == body || data[0] & 8, "a state that was cut could be loaded");
    must(rc || size >= 8 || len == body, "a state with a piece twice could be loaded");
    return 0;
}
