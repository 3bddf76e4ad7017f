/*
 * The riscv64 disassembler: text as `objdump -d -M no-aliases` of binutils 2.44 prints it, without
 * its comments. Constant, reentrant.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Writes mnemonic, tab and operands of the instruction in the low 2 or 4 bytes of `bits` at the
 * address pc; branch targets are absolute. `exts` is as for rv_decode(); an illegal word becomes
 * `.insn`, its length and its value. Always terminates buf (size > 0) and returns the length of the
 * text like snprintf(): it was cut if that is not less than size. 64 bytes are enough.
 */
int rv_disasm(uint32_t bits, uint64_t pc, uint64_t exts, char *buf, size_t size);

/* The name of a CSR that csrs.def knows, or NULL. */
const char *rv_csr_name(unsigned number);
