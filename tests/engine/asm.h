/* Encoders for the instructions that hand-written test programs need (volume I, chapter 34). */
#pragma once

#include <stdint.h>

static inline uint32_t asm_r(unsigned op, unsigned f3, unsigned f7, unsigned rd, unsigned rs1,
                             unsigned rs2)
{
    return f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}

static inline uint32_t asm_i(unsigned op, unsigned f3, unsigned rd, unsigned rs1, int imm)
{
    return ((uint32_t)imm & 0xfff) << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}

static inline uint32_t asm_s(unsigned f3, unsigned rs2, unsigned rs1, int imm)
{
    uint32_t u = (uint32_t)imm;
    return (u >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | (u & 31) << 7 | 0x23;
}

static inline uint32_t asm_b(unsigned f3, unsigned rs1, unsigned rs2, int offset)
{
    uint32_t u = (uint32_t)offset;
    return (u >> 12 & 1) << 31 | (u >> 5 & 63) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 |
           (u >> 1 & 15) << 8 | (u >> 11 & 1) << 7 | 0x63;
}

static inline uint32_t asm_j(unsigned rd, int offset)
{
    uint32_t u = (uint32_t)offset;
    return (u >> 20 & 1) << 31 | (u >> 1 & 0x3ff) << 21 | (u >> 11 & 1) << 20 |
           (u >> 12 & 0xff) << 12 | rd << 7 | 0x6f;
}

#define ADDI(rd, rs1, imm) asm_i(0x13, 0, rd, rs1, imm)
#define NOP ADDI(0, 0, 0)
#define BNE(rs1, rs2, offset) asm_b(1, rs1, rs2, offset)
#define JAL(rd, offset) asm_j(rd, offset)
#define JALR(rd, rs1, imm) asm_i(0x67, 0, rd, rs1, imm)
/* size: 0 to 3; loads: plus 4 for zero extension */
#define LOAD(size, rd, rs1, imm) asm_i(0x03, size, rd, rs1, imm)
#define STORE(size, rs2, rs1, imm) asm_s(size, rs2, rs1, imm)
#define FLD(rd, rs1, imm) asm_i(0x07, 3, rd, rs1, imm)
#define FSD(rs2, rs1, imm) (asm_s(3, rs2, rs1, imm) | 4)
#define CSRRW(rd, csr, rs1) asm_i(0x73, 1, rd, rs1, (int)(csr))
#define CSRRS(rd, csr, rs1) asm_i(0x73, 2, rd, rs1, (int)(csr))
#define CSRRSI(rd, csr, imm) asm_i(0x73, 6, rd, imm, (int)(csr))
#define AMO(f5, size, rd, rs1, rs2) asm_r(0x2f, size, (f5) << 2, rd, rs1, rs2)
#define LR(size, rd, rs1) AMO(2, size, rd, rs1, 0)
#define SC(size, rd, rs1, rs2) AMO(3, size, rd, rs1, rs2)
#define AMOADD(size, rd, rs1, rs2) AMO(0, size, rd, rs1, rs2)
#define ECALL 0x00000073u
#define EBREAK 0x00100073u
#define MRET 0x30200073u
#define SRET 0x10200073u
#define WFI 0x10500073u
#define FENCE_I 0x0000100fu
#define SFENCE_VMA(rs1) asm_r(0x73, 0, 9, 0, rs1, 0)
