/* The table of operations as data, and what the order of its lines has to be. */
#include "ir/impl.h"

#define VOID IR_VOID
#define I1 IR_I1
#define I32 IR_I32
#define I64 IR_I64
#define F32 IR_F32
#define F64 IR_F64
#define SAME IR_SAME
#define ANY IR_ANY
#define PURE IR_F_PURE
#define COMM IR_F_COMM
#define FPENV IR_F_FPENV
#define SNAP IR_F_SNAP
#define MEM IR_F_MEM
#define STORE IR_F_STORE
#define EFFECT IR_F_EFFECT
#define TERM IR_F_TERM

/* Lower case is made when printing; the table has the names as they are in C. */
const struct ir_op_info ir_op_info[IR_OP_COUNT] = {
#define IR_OP(name, argc, result, flags) [IR_##name] = {#name, argc, result, flags},
#include "ir/ir.def"
#undef IR_OP
};

/* Every operation: at most three operands; COMM has two or more; what ends a block makes no value;
 * what is pure has no effect. */
#define IR_OP(name, argc, result, flags)                                                         \
    _Static_assert((argc) <= 3, #name);                                                          \
    _Static_assert(!((flags)&COMM) || (argc) == 2, #name);                                       \
    _Static_assert(!((flags)&TERM) || (result) == VOID, #name);                                  \
    _Static_assert(!((flags)&PURE) || !((flags) & (FPENV | SNAP | MEM | STORE | EFFECT | TERM)), \
                   #name);                                                                       \
    _Static_assert((result) != SAME || (argc) > 0, #name);
#include "ir/ir.def"
#undef IR_OP

_Static_assert(IR_NOP == 0, "instruction 0 is a NOP");
_Static_assert((IR_EQ ^ 1) == IR_NE && (IR_LTS ^ 1) == IR_GES && (IR_LTU ^ 1) == IR_GEU,
               "the opposite of a comparison differs in bit 0");
_Static_assert(IR_GEU - IR_EQ == 5, "comparisons are one range");
_Static_assert(IR_GEU < 64, "sets of integer operations fit a word");
_Static_assert(IR_OP_COUNT < 255, "255 is any operation in a pattern");

const char *const ir_amo_names[IR_AMO_COUNT] = {
    [IR_AMO_SWAP] = "swap", [IR_AMO_ADD] = "add", [IR_AMO_XOR] = "xor", [IR_AMO_AND] = "and",
    [IR_AMO_OR] = "or",     [IR_AMO_MIN] = "min", [IR_AMO_MAX] = "max", [IR_AMO_MINU] = "minu",
    [IR_AMO_MAXU] = "maxu", [IR_AMO_CAS] = "cas",
};

const char *ir_type_name(enum ir_type type)
{
    static const char *const names[] = {"void", "i1", "i32", "i64", "f32", "f64", "same", "any"};
    return (unsigned)type < sizeof names / sizeof names[0] ? names[type] : "?";
}
