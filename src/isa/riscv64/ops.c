#include "isa/riscv64/ops.h"

#include <string.h>

const struct rv_op_info *rv_op_info(unsigned op)
{
    static const struct rv_op_info info[RV_OP_COUNT] = {
        [RV_OP_ILLEGAL] = {.name = "illegal"},
#define RV_OP_INFO(ID, name, kind, ext, rd, rs1, rs2, rs3)                        \
    [RV_OP_##ID] = {name,           RV_KIND_##kind, RV_EXT_##ext,  RV_CLASS_##rd, \
                    RV_CLASS_##rs1, RV_CLASS_##rs2, RV_CLASS_##rs3},
#include "isa/riscv64/rv_op_info.def"
#undef RV_OP_INFO
    };
    return &info[op];
}

const struct rv_enc_info *rv_enc_info(unsigned enc)
{
    static const struct rv_enc_info info[RV_ENC_COUNT] = {
#define RV_ENC(ID, name, op, text, len, mask, match, exts, layout) \
    [RV_ENC_##ID] = {name, text, exts, mask, match, RV_OP_##op, len},
#include "isa/riscv64/rv_encs.def"
#undef RV_ENC
    };
    return &info[enc];
}

static const struct {
    const char *name;
    uint64_t closure;
} rv_exts[RV_EXT_COUNT] = {
#define RV_EXT(ID, name, closure, used) {name, closure},
#include "isa/riscv64/rv_exts.def"
#undef RV_EXT
};

const char *rv_ext_name(unsigned ext)
{
    return rv_exts[ext].name;
}

int rv_ext_find(const char *name, size_t len)
{
    for (int i = 0; i < RV_EXT_COUNT; i++)
        if (strlen(rv_exts[i].name) == len && !memcmp(rv_exts[i].name, name, len))
            return i;
    return -1;
}

uint64_t rv_exts_closure(uint64_t exts)
{
    uint64_t all = RV_EXT_BIT(I);
    for (unsigned i = 0; i < RV_EXT_COUNT; i++)
        if (exts >> i & 1)
            all |= rv_exts[i].closure;
    return all;
}
