/*
 * The riscv64 decoder and disassembler: under any set of extensions, any word is either illegal or
 * matches the row of the table that it is said to be, with registers in range and text that fits.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct {
        uint64_t exts, pc;
        uint32_t bits;
    } in = {0};
    memcpy(&in, data, size < sizeof in ? size : sizeof in);
    uint64_t exts = rv_exts_closure(in.exts);

    struct rv_insn insn;
    bool legal = rv_decode(in.bits, exts, &insn);
    require(legal == (insn.op != RV_OP_ILLEGAL));
    require(insn.len == rv_insn_len((uint16_t)in.bits));
    require((insn.rd | insn.rs1 | insn.rs2 | insn.rs3) < 32 && insn.rm < 8);
    if (legal) {
        const struct rv_enc_info *enc = rv_enc_info(insn.enc);
        require((in.bits & enc->mask) == enc->match && enc->len == insn.len);
        require(enc->op == insn.op && !(enc->exts & ~exts));
    }

    char text[64];
    int len = rv_disasm(in.bits, in.pc, exts, text, sizeof text);
    require(len > 0 && (size_t)len == strlen(text));
    return 0;
}
