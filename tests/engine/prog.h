/*
 * A riscv64 program in memory: text at PROG_TEXT, data at PROG_DATA, entry at its first byte. It
 * ends by writing its whole data to file 1 and calling exit. The same bytes become an ELF file for
 * another implementation and the memory of a box (box.h).
 *
 * A program owns its buffers. The prog_* functions append to the text; running out of room aborts,
 * because that is a mistake of the generator.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROG_TEXT UINT64_C(0x100000)
#define PROG_TEXT_MAX (UINT64_C(1) << 20)
#define PROG_DATA UINT64_C(0x800000)

/* Where a program that catches SIGILL (prog_catch) keeps what the handler needs. */
#define PROG_RESUME_REG 28 /* holds the address to go on at */
#define PROG_SIGNAL_REG 29 /* receives the number of the signal */

struct prog {
    uint8_t *text, *data;
    size_t text_len, data_len;
    bool writable_text; /* the program changes its own instructions */
};

void prog_init(struct prog *p, size_t data_len);
void prog_fini(struct prog *p);

/* Address of the next instruction. */
static inline uint64_t prog_pc(const struct prog *p)
{
    return PROG_TEXT + p->text_len;
}

void prog_emit(struct prog *p, uint32_t word, unsigned len);

/* rd = the sign-extended 32-bit constant. One or two instructions. */
void prog_li(struct prog *p, unsigned rd, int32_t value);

/*
 * Writes all registers to data + offset, as x1..x31, f0..f31, fcsr, through register `base`, which
 * holds PROG_DATA + base_offset; the difference must fit an immediate, with 512 bytes to spare.
 * `temp` is another register.
 */
void prog_dump(struct prog *p, unsigned base, int base_offset, int offset, unsigned temp);
#define PROG_DUMP_SIZE (8 * (32 + 32 + 1)) /* x0's place is left as it was */

/* Loads what prog_dump writes, all but x0 and `base`. */
void prog_restore(struct prog *p, unsigned base, int base_offset, int offset, unsigned temp);

/* write(1, data, data_len); exit(0) */
void prog_exit(struct prog *p);

/* Installs a handler of SIGILL, SIGSEGV, SIGBUS and SIGTRAP, that goes on at PROG_RESUME_REG. */
void prog_catch(struct prog *p);

/* The static ELF file of the program; the caller frees *file. Returns its length. */
size_t prog_elf(const struct prog *p, uint8_t **file);

/* Prints `count` instructions from address `pc` on, `mark` with an arrow. */
void prog_print(const struct prog *p, uint64_t pc, unsigned count, uint64_t mark);

/* ---- instructions that the tests write themselves ---- */

static inline uint32_t asm_i(uint32_t opcode, unsigned f3, unsigned rd, unsigned rs1, int32_t imm)
{
    return opcode | rd << 7 | f3 << 12 | rs1 << 15 | (uint32_t)imm << 20;
}

static inline uint32_t asm_s(uint32_t opcode, unsigned f3, unsigned rs1, unsigned rs2, int32_t imm)
{
    uint32_t u = (uint32_t)imm;
    return opcode | (u & 31) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | (u >> 5 & 127) << 25;
}

static inline uint32_t asm_addi(unsigned rd, unsigned rs1, int32_t imm)
{
    return asm_i(0x13, 0, rd, rs1, imm);
}

static inline uint32_t asm_andi(unsigned rd, unsigned rs1, int32_t imm)
{
    return asm_i(0x13, 7, rd, rs1, imm);
}

static inline uint32_t asm_slli(unsigned rd, unsigned rs1, unsigned shift)
{
    return asm_i(0x13, 1, rd, rs1, (int32_t)shift);
}

static inline uint32_t asm_srli(unsigned rd, unsigned rs1, unsigned shift)
{
    return asm_i(0x13, 5, rd, rs1, (int32_t)shift);
}

static inline uint32_t asm_add(unsigned rd, unsigned rs1, unsigned rs2)
{
    return asm_i(0x33, 0, rd, rs1, (int32_t)rs2);
}

static inline uint32_t asm_ld(unsigned rd, unsigned rs1, int32_t imm)
{
    return asm_i(0x03, 3, rd, rs1, imm);
}

static inline uint32_t asm_lw(unsigned rd, unsigned rs1, int32_t imm)
{
    return asm_i(0x03, 2, rd, rs1, imm);
}

static inline uint32_t asm_sd(unsigned rs2, unsigned rs1, int32_t imm)
{
    return asm_s(0x23, 3, rs1, rs2, imm);
}

static inline uint32_t asm_sw(unsigned rs2, unsigned rs1, int32_t imm)
{
    return asm_s(0x23, 2, rs1, rs2, imm);
}

static inline uint32_t asm_sb(unsigned rs2, unsigned rs1, int32_t imm)
{
    return asm_s(0x23, 0, rs1, rs2, imm);
}

static inline uint32_t asm_fld(unsigned fd, unsigned rs1, int32_t imm)
{
    return asm_i(0x07, 3, fd, rs1, imm);
}

static inline uint32_t asm_fsd(unsigned fs2, unsigned rs1, int32_t imm)
{
    return asm_s(0x27, 3, rs1, fs2, imm);
}

static inline uint32_t asm_jalr(unsigned rd, unsigned rs1, int32_t imm)
{
    return asm_i(0x67, 0, rd, rs1, imm);
}

static inline uint32_t asm_lui(unsigned rd, uint32_t high20)
{
    return 0x37 | rd << 7 | high20 << 12;
}

static inline uint32_t asm_auipc(unsigned rd, uint32_t high20)
{
    return 0x17 | rd << 7 | high20 << 12;
}

/* f3: 0 beq, 1 bne, 4 blt, 5 bge, 6 bltu, 7 bgeu. Offset even, +-4 KiB. */
static inline uint32_t asm_branch(unsigned f3, unsigned rs1, unsigned rs2, int32_t offset)
{
    uint32_t u = (uint32_t)offset;
    return 0x63 | f3 << 12 | rs1 << 15 | rs2 << 20 | (u >> 11 & 1) << 7 | (u >> 1 & 15) << 8 |
           (u >> 5 & 63) << 25 | (u >> 12 & 1) << 31;
}

/* Offset even, +-1 MiB. */
static inline uint32_t asm_jal(unsigned rd, int32_t offset)
{
    uint32_t u = (uint32_t)offset;
    return 0x6f | rd << 7 | (u >> 12 & 255) << 12 | (u >> 11 & 1) << 20 | (u >> 1 & 1023) << 21 |
           (u >> 20 & 1) << 31;
}

/* Offset even, +-2 KiB. */
static inline uint32_t asm_c_j(int32_t offset)
{
    uint32_t u = (uint32_t)offset;
    return 0xa001 | (u >> 5 & 1) << 2 | (u >> 1 & 7) << 3 | (u >> 7 & 1) << 6 | (u >> 6 & 1) << 7 |
           (u >> 10 & 1) << 8 | (u >> 8 & 3) << 9 | (u >> 4 & 1) << 11 | (u >> 11 & 1) << 12;
}

/* rs1 is x8..x15; offset even, +-256 bytes. */
static inline uint32_t asm_c_branch(bool not_zero, unsigned rs1, int32_t offset)
{
    uint32_t u = (uint32_t)offset;
    return (not_zero ? 0xe001u : 0xc001u) | (u >> 5 & 1) << 2 | (u >> 1 & 3) << 3 |
           (u >> 6 & 3) << 5 | (rs1 - 8) << 7 | (u >> 3 & 3) << 10 | (u >> 8 & 1) << 12;
}

#define ASM_C_NOP 0x0001u
#define ASM_ECALL 0x00000073u
#define ASM_FENCE_I 0x0000100fu
#define CSR_FCSR 3

static inline uint32_t asm_csrr(unsigned rd, unsigned csr)
{
    return asm_i(0x73, 2, rd, 0, (int32_t)csr);
}

static inline uint32_t asm_csrw(unsigned csr, unsigned rs1)
{
    return asm_i(0x73, 1, 0, rs1, (int32_t)csr);
}
