#include "isa/riscv64/decode.h"

#define HAS(ID) (exts & RV_EXT_BIT(ID))

/* The low len bits of v as a signed number. */
static inline int32_t rv_sext(uint32_t v, unsigned len)
{
    uint32_t sign = UINT32_C(1) << (len - 1);
    return (int32_t)((v ^ sign) - sign);
}

#include "isa/riscv64/rv_decode.inc"

#undef HAS

static const struct {
    uint16_t op;
    uint8_t layout;
} rv_enc_decode[RV_ENC_COUNT] = {
#define RV_ENC(ID, name, op, text, len, mask, match, exts, layout) {RV_OP_##op, layout},
    {RV_OP_ILLEGAL, 0},
#include "isa/riscv64/rv_encs.def"
#undef RV_ENC
};

static unsigned rv_match(uint32_t bits, uint64_t exts)
{
    return (bits & 3) == 3 ? rv_match32(bits, exts) : rv_match16(bits & 0xffff, exts);
}

bool rv_decode(uint32_t bits, uint64_t exts, struct rv_insn *out)
{
    unsigned enc = rv_match(bits, exts);
    *out = (struct rv_insn){
        .op = rv_enc_decode[enc].op,
        .enc = (uint16_t)enc,
        .len = (uint8_t)rv_insn_len((uint16_t)bits),
    };
    if (enc == RV_ENC_ILLEGAL)
        return false;
    rv_extract(rv_enc_decode[enc].layout, bits, out);
    return true;
}

uint32_t rv_encode_random(unsigned enc, uint64_t random)
{
    const struct rv_enc_info *info = rv_enc_info(enc);
    uint32_t fields = ~info->mask & (info->len == 2 ? 0xffff : 0xffffffff);
    uint32_t word;
    do {
        /* One step of splitmix64. Few words of a row are forbidden or a special case of it. */
        random += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = (random ^ random >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        word = info->match | ((uint32_t)(z ^ z >> 31) & fields);
    } while (rv_match(word, ~UINT64_C(0)) != enc);
    return word;
}
