/*
 * Hostile images: random bytes as firmware and as a kernel, random valid instructions whose
 * registers point at devices, memory and nowhere, kernels that call SBI with anything. The guest
 * may loop, trap, reset itself or switch off; guise must go on. Arguments: the engine and how many
 * images. GUISE_SEED repeats a run, and GUISE_HOSTILE_IMAGE=N runs only image N of it.
 */
#include "isa/riscv64/ops.h"
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_SIZE 4096u
#define GUEST_NS 100000u /* as many instructions, on each hart */
#define LINUX_HEADER 64u

struct image {
    uint8_t data[IMAGE_SIZE];
    size_t len, at;
    uint64_t *rng;
};

static void put16(struct image *img, uint32_t half)
{
    if (img->at + 2 > img->len)
        return;
    img->data[img->at++] = (uint8_t)half;
    img->data[img->at++] = (uint8_t)(half >> 8);
}

static void put32(struct image *img, uint32_t word)
{
    put16(img, word);
    put16(img, word >> 16);
}

static void put_random(struct image *img)
{
    while (img->at < img->len)
        img->data[img->at++] = (uint8_t)small_random(img->rng);
}

/* ---- instructions ---- */

/* Where registers point: devices, RAM and its ends, nothing, page tables. */
static const uint64_t places[] = {
    0x100000,           0x101000,   0x1000,     0x2000000,  0x2004000,
    0x200bff8,          0xc000000,  0xc002000,  0xc200000,  0x10000000,
    0x10001000,         0x10001100, 0x10002000, 0x80000000, 0x80001000,
    0x80100000,         0x801ff000, 0x801ffff8, 0x80200000, 0x40000000,
    0xffffffffffffff00, 0x7fffffff, 0,          8,          0x8000000000080000,
};

/* The upper 20 bits in a register, then the rest: lui, addi; enough for the places below 2^31. */
static void put_place(struct image *img, unsigned rd, uint64_t place)
{
    put32(img, (uint32_t)((place + 0x800) & 0xfffff000) | rd << 7 | 0x37);
    put32(img, (uint32_t)(place & 0xfff) << 20 | rd << 15 | rd << 7 | 0x13);
    if (place >> 31 == 1) { /* lui has extended the sign */
        put32(img, 32u << 20 | rd << 15 | 1 << 12 | rd << 7 | 0x13);
        put32(img, 32u << 20 | rd << 15 | 5 << 12 | rd << 7 | 0x13);
    }
}

static void put_csr(struct image *img)
{
    static const uint16_t csrs[] = {0x100, 0x104, 0x105, 0x10a, 0x140, 0x141, 0x14d, 0x180,
                                    0x300, 0x301, 0x302, 0x303, 0x304, 0x305, 0x306, 0x30a,
                                    0x320, 0x340, 0x341, 0x342, 0x343, 0x344, 0x3a0, 0x3a2,
                                    0x3b0, 0x3b7, 0x7a0, 0xb00, 0xb02, 0xc00, 0xc01, 0xf14};
    uint64_t r = small_random(img->rng);
    uint32_t csr = r & 64 ? csrs[r % (sizeof csrs / sizeof csrs[0])] : (uint32_t)(r >> 20) & 0xfff;
    uint32_t f3 = (uint32_t)(r >> 40) & 7;
    put32(img, csr << 20 | ((uint32_t)(r >> 8) & 31) << 15 | (f3 & 3 ? f3 : 1) << 12 |
                   ((uint32_t)(r >> 13) & 31) << 7 | 0x73);
}

/* Any encoding of the instruction table, its operands at random. */
static void put_valid(struct image *img)
{
    uint64_t r = small_random(img->rng);
    const struct rv_enc_info *e = rv_enc_info(1 + (unsigned)(r % (RV_ENC_COUNT - 1)));
    uint32_t word = ((uint32_t)(r >> 32) & ~e->mask) | e->match;
    if (e->len == 2)
        put16(img, word);
    else
        put32(img, word);
}

static void put_sbi_call(struct image *img)
{
    static const uint32_t extensions[] = {0x10,     0x54494d45, 0x735049,   0x52464e43,
                                          0x48534d, 0x53525354, 0x4442434e, 0x504d55,
                                          0x535441, 0,          1,          8};
    uint64_t r = small_random(img->rng);
    put_place(img, 17, extensions[r % (sizeof extensions / sizeof extensions[0])]);
    put_place(img, 16, (r >> 8) & 7);
    put_place(img, 10, (r >> 16) & 1 ? 0x80000000 : (r >> 17) & 3);
    put_place(img, 11, (r >> 24) & 1 ? places[(r >> 25) % 22] : (r >> 25) & 15);
    put32(img, 0x73);
}

/* A store of something that may mean something, or a load, at a register of a device. */
static void put_device(struct image *img)
{
    static const uint32_t values[] = {0x5555, 0x3333, 0x2a3333, 1, 2, 3, 8, 0xf, 0x80};
    uint64_t r = small_random(img->rng);
    uint32_t imm = (uint32_t)(r >> 8) & 0x1fc, width = (uint32_t)(r >> 20) & 3;
    put_place(img, 9, places[(r >> 24) % 16]);
    put_place(img, 15, values[(r >> 32) % (sizeof values / sizeof values[0])]);
    if (r & 3)
        put32(img, (imm >> 5) << 25 | 15u << 20 | 9u << 15 | width << 12 | (imm & 31) << 7 | 0x23);
    else
        put32(img, imm << 20 | 9u << 15 | width << 12 | 13u << 7 | 0x03);
    if ((r & 12) == 0) /* the test device's own register */
        put32(img, 15u << 20 | 9u << 15 | 2u << 12 | 0x23);
}

/* A trap handler that goes on behind the instruction that trapped. tvec + 0x3c is the epc. */
static void put_handler(struct image *img, uint32_t tvec, uint32_t ret)
{
    const uint32_t epc = tvec + 0x3c, t6 = 31;
    put32(img, t6 << 7 | 0x17);                         /* auipc t6, 0 */
    put32(img, 16u << 20 | t6 << 15 | t6 << 7 | 0x13);  /* addi  t6, t6, 16 */
    put32(img, tvec << 20 | t6 << 15 | 1 << 12 | 0x73); /* csrw  tvec, t6 */
    put32(img, 0x0140006f);                             /* j     behind the handler */
    put32(img, epc << 20 | 2 << 12 | t6 << 7 | 0x73);   /* csrr  t6, epc */
    put32(img, 4u << 20 | t6 << 15 | t6 << 7 | 0x13);   /* addi  t6, t6, 4 */
    put32(img, epc << 20 | t6 << 15 | 1 << 12 | 0x73);  /* csrw  epc, t6 */
    put32(img, ret);
}

static void put_soup(struct image *img, bool kernel)
{
    if (kernel)
        put_handler(img, 0x105, 0x10200073);
    else
        put_handler(img, 0x305, 0x30200073);
    for (unsigned reg = 1; reg < 32; reg += 2)
        put_place(img, reg, places[small_random(img->rng) % (sizeof places / sizeof places[0])]);
    while (img->at + 2 <= img->len) {
        uint64_t kind = small_random(img->rng) % 64;
        if (kind == 0)
            put_sbi_call(img);
        else if (kind < 4)
            put_csr(img);
        else if (kind < 7)
            put_device(img);
        else
            put_valid(img);
    }
}

/* ---- images ---- */

/* Version 0.2 of the header; entering it runs its first two words, which jump over it. */
static void put_linux_header(struct image *img)
{
    static const uint64_t fields[] = {0x0400006f /* j 64 */, 0,         65536, 0, 2, 0,
                                      0x5643534952,          0x05435352};
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 8; k++)
            img->data[img->at++] = (uint8_t)(fields[i] >> (8 * k));
}

enum { WAY_FIRMWARE, WAY_KERNEL, WAY_FIRMWARE_SOUP, WAY_KERNEL_SOUP, WAYS };

static unsigned one_image(const char *engine, uint64_t seed, const struct small_file *file,
                          const struct small_file *disk)
{
    uint64_t rng = seed;
    uint64_t r = small_random(&rng);
    unsigned way = (unsigned)(r % WAYS);
    struct image img = {.len = IMAGE_SIZE, .rng = &rng};
    if (r >> 60 == 0)
        img.len = LINUX_HEADER + (size_t)(r >> 8) % 256;
    bool kernel = way == WAY_KERNEL || way == WAY_KERNEL_SOUP;
    if (kernel)
        put_linux_header(&img);
    if (way == WAY_FIRMWARE_SOUP || way == WAY_KERNEL_SOUP)
        put_soup(&img, kernel);
    put_random(&img);
    small_put(file, img.data, img.len);

    struct vm_config config = small_config(GUEST_NS);
    config.engine = engine;
    if (kernel)
        config.kernel = file->path;
    else
        config.firmware = file->path;
    config.cpus = (r >> 16) & 3 ? 1 : 2 + ((unsigned)(r >> 18) & 1);
    config.address_bits = 39 + 9 * ((unsigned)(r >> 20) % 3);
    if ((r >> 24) & 1) {
        config.disks[0].path = disk->path;
        config.disk_count = 1;
    }
    struct vm_result result;
    struct error err;
    int rc = small_run(&config, &result, &err);
    if (rc) {
        fprintf(stderr, "image of seed %llu cannot be run: %s\n", (unsigned long long)seed,
                err.msg);
        exit(1);
    }
    return result.end;
}

int main(int argc, char **argv)
{
    uint64_t seed = small_seed();
    const char *only = getenv("GUISE_HOSTILE_IMAGE");
    const char *engine = argc > 1 ? argv[1] : "auto";
    unsigned long count = argc > 2               ? strtoul(argv[2], NULL, 10)
                          : getenv("GUISE_LONG") ? 10000
                                                 : 1200;
    unsigned long ends[4] = {0};
    struct small_file file, disk;
    small_open(&file);
    small_open(&disk);
    static const uint8_t zeros[65536];
    small_put(&disk, zeros, sizeof zeros);
    for (unsigned long i = 0; i < count; i++) {
        if (only && strtoul(only, NULL, 10) != i)
            continue;
        /* Read by a person when the next line is a crash. */
        if (i % 1000 == 0 || only) {
            printf("image %lu and on\n", i);
            fflush(stdout);
        }
        uint64_t image_seed = seed + i;
        ends[one_image(engine, small_random(&image_seed), &file, &disk)]++;
    }
    small_close(&file);
    small_close(&disk);
    printf("%lu images: %lu switched off, %lu reported failure, %lu ran on\n", count,
           ends[VM_END_POWEROFF], ends[VM_END_FAILURE], ends[VM_END_LIMIT]);
    if (!only && !ends[VM_END_LIMIT]) {
        fprintf(stderr, "no image ran on: the test tests nothing\n");
        return 1;
    }
    return 0;
}
