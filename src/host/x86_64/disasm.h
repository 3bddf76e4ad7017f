/*
 * Disassembly of generated code, for dumps.
 *
 * With capstone at build time and at hand the text is Intel syntax; without it each instruction is
 * one byte, in hexadecimal (disasm_none.c), so that dumps keep their shape. A struct host_disasm
 * belongs to one thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HOST_DISASM_TEXT 208

struct host_disasm;

/* NULL: out of memory. */
struct host_disasm *host_disasm_new(void);
void host_disasm_free(struct host_disasm *d);

/*
 * The text of the instruction at code, n > 0 bytes being there, as if it were at `address`. Returns
 * its length: 1 to n. What is no instruction is one byte, "db 0x..".
 */
size_t host_disasm_insn(struct host_disasm *d, const uint8_t *code, size_t n, uint64_t address,
                        char text[HOST_DISASM_TEXT]);

/* All of it, a line each: address, bytes, text. */
void host_disasm_print(struct host_disasm *d, FILE *out, const uint8_t *code, size_t n,
                       uint64_t address);
