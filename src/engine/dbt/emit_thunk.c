/*
 * The code round translated code: entry, ways out, and the call into back_slow. MXCSR changes hands
 * here, too.
 */
#include "engine/dbt/emit.h"
#include "isa/riscv64/fp.h"

#include <string.h>

static const uint8_t thunk_saved[] = {RBX, RBP, R12, R13, R14, R15};
enum { THUNK_SAVED = sizeof thunk_saved };

/* Pushed registers and return address leave rsp at an odd multiple of 8. */
#define THUNK_FRAME (BACK_FRAME + 8)
#define SLOW_FRAME 264 /* 32 registers and MXCSR; keeps rsp aligned after the call */
#define SLOW_MXCSR 256

/* Data of the thunks. */
struct thunk_data {
    uint32_t mxcsr[8];  /* by frm */
    uint8_t fflags[64]; /* by flags of MXCSR */
};

static void thunk_fill_data(struct thunk_data *d)
{
    static const uint8_t flag[6] = {FP_NV, 0, FP_DZ, FP_OF, FP_UF, FP_NX};
    memset(d, 0, sizeof *d);
    for (unsigned rm = 0; rm < 8; rm++)
        d->mxcsr[rm] = emit_mxcsr(rm);
    for (unsigned i = 0; i < 64; i++)
        for (unsigned bit = 0; bit < 6; bit++)
            if (i >> bit & 1)
                d->fflags[i] |= flag[bit];
}

static void thunk_enter(struct asm_buf *a, const struct back_target *t, struct asm_label *data)
{
    for (unsigned i = 0; i < THUNK_SAVED; i++)
        asm_push(a, thunk_saved[i]);
    asm_ri(a, ASM_SUB, 8, RSP, THUNK_FRAME);
    asm_rr(a, ASM_MOV, 8, RBP, RDI);
    asm_rm(a, ASM_MOV, 8, R15, asm_mem(RBP, t->icount_offset));
    asm_rm(a, ASM_MOV, 8, EMIT_MEM_BASE, asm_mem(RBP, t->mem_base_offset));
    asm_rm(a, ASM_MOVZX8, 4, RAX, asm_mem(RBP, t->frm_offset));
    asm_ri(a, ASM_AND, 4, RAX, 7);
    asm_lea(a, 8, RCX, asm_mem_label(data));
    asm_m(a, ASM_LDMXCSR, 4, asm_mem_index(RCX, RAX, 2, 0));
    asm_rm(a, ASM_MOV, 8, RAX, asm_mem(RBP, t->pc_offset));
    asm_jmp_r(a, RSI);
}

/* rax: what enter returns */
static void thunk_leave(struct asm_buf *a, const struct back_target *t, struct asm_label *data)
{
    asm_m(a, ASM_STMXCSR, 4, asm_mem(RSP, 0));
    asm_lea(a, 8, RDX, asm_mem_label(data));
    asm_rm(a, ASM_MOV, 4, RCX, asm_mem(RSP, 0));
    asm_ri(a, ASM_AND, 4, RCX, 63);
    asm_rm(a, ASM_MOVZX8, 4, RCX,
           asm_mem_index(RDX, RCX, 0, (int32_t)offsetof(struct thunk_data, fflags)));
    asm_mr(a, ASM_OR, 1, asm_mem(RBP, t->fflags_offset), RCX);
    asm_m(a, ASM_LDMXCSR, 4, asm_mem(RDX, 0));
    asm_mr(a, ASM_MOV, 8, asm_mem(RBP, t->icount_offset), R15);
    asm_ri(a, ASM_ADD, 8, RSP, THUNK_FRAME);
    for (unsigned i = THUNK_SAVED; i--;)
        asm_pop(a, thunk_saved[i]);
    asm_none(a, ASM_RET);
}

static void thunk_move_registers(struct asm_buf *a, bool save)
{
    for (unsigned r = 0; r < 16; r++) {
        struct asm_mem m = asm_mem(RSP, (int32_t)r * 8), x = asm_mem(RSP, 128 + (int32_t)r * 8);
        if (save) {
            if (r != RSP)
                asm_mr(a, ASM_MOV, 8, m, (enum asm_reg)r);
            asm_mx(a, ASM_MOVSD, x, (enum asm_xmm)r);
        } else {
            if (r != RSP)
                asm_rm(a, ASM_MOV, 8, (enum asm_reg)r, m);
            asm_xm(a, ASM_MOVSD, (enum asm_xmm)r, x);
        }
    }
}

/* Called from slow paths; see emit_slow.c. */
static void thunk_slow(struct asm_buf *a, const struct back_target *t, struct asm_label *leave,
                       struct asm_label *data)
{
    struct asm_label out = {0};
    asm_ri(a, ASM_SUB, 8, RSP, SLOW_FRAME);
    thunk_move_registers(a, true);
    asm_lea(a, 8, RAX, asm_mem(RSP, SLOW_FRAME + 8));
    asm_mr(a, ASM_MOV, 8, asm_mem(RSP, RSP * 8), RAX);
    asm_rr(a, ASM_MOV, 8, RDI, RSP);
    asm_rm(a, ASM_MOV, 8, RSI, asm_mem(RSP, SLOW_FRAME));
    asm_rm(a, ASM_MOVSXD, 8, RAX, asm_mem(RSI, 1));
    asm_lea(a, 8, RSI, asm_mem_index(RSI, RAX, 0, 1));
    asm_rm(a, ASM_MOV, 8, RDX, asm_mem(RBP, t->helpers_offset));
    asm_m(a, ASM_STMXCSR, 4, asm_mem(RSP, SLOW_MXCSR));
    asm_m(a, ASM_LDMXCSR, 4, asm_mem_label(data));
    asm_call_m(a, asm_mem(RDX, BACK_HELPER_SLOW * 8));
    asm_m(a, ASM_LDMXCSR, 4, asm_mem(RSP, SLOW_MXCSR));
    asm_rr(a, ASM_TEST, 4, RAX, RAX);
    asm_jcc(a, CC_NE, &out);
    thunk_move_registers(a, false);
    if (t->window_bits != BACK_DIRECT)
        asm_rm(a, ASM_MOV, 8, EMIT_MEM_BASE, asm_mem(RBP, t->mem_base_offset));
    asm_ri(a, ASM_ADD, 8, RSP, SLOW_FRAME);
    asm_none(a, ASM_RET);
    asm_bind(a, &out);
    asm_rm(a, ASM_MOV, 8, R15, asm_mem(RSP, R15 * 8));
    asm_ri(a, ASM_ADD, 8, RSP, SLOW_FRAME + 8);
    asm_jmp(a, leave);
}

static void thunk_begin(struct asm_buf *a, struct back_thunks *out, enum back_thunk thunk)
{
    asm_align(a, 16);
    out->thunk[thunk] = asm_pos(a);
}

static void thunk_reason(struct asm_buf *a, struct back_thunks *out, enum back_thunk thunk,
                         struct asm_label *leave)
{
    thunk_begin(a, out, thunk);
    asm_mov_imm(a, RAX, thunk);
    asm_jmp(a, leave);
}

bool back_emit_thunks(const struct back_target *t, struct back_code *code, struct back_thunks *out)
{
    struct asm_buf a;
    struct asm_label leave = {0}, data = {0};
    struct thunk_data values;
    _Static_assert(BACK_THUNK_EXIT == 0, "the link alone is the result");
    asm_init(&a, code->bytes, code->cap);
    out->enter = asm_pos(&a);
    thunk_enter(&a, t, &data);
    thunk_begin(&a, out, BACK_THUNK_EXIT);
    asm_ri(&a, ASM_SHL, 8, RAX, 32);
    asm_bind(&a, &leave);
    thunk_leave(&a, t, &data);
    thunk_begin(&a, out, BACK_THUNK_INDIRECT);
    asm_mr(&a, ASM_MOV, 8, asm_mem(RBP, t->pc_offset), RAX);
    asm_mov_imm(&a, RAX, BACK_THUNK_INDIRECT);
    asm_jmp(&a, &leave);
    thunk_reason(&a, out, BACK_THUNK_INTERP, &leave);
    thunk_reason(&a, out, BACK_THUNK_STOP, &leave);
    thunk_reason(&a, out, BACK_THUNK_TRAP, &leave);
    thunk_begin(&a, out, BACK_THUNK_SLOW);
    thunk_slow(&a, t, &leave, &data);
    asm_align(&a, 64);
    asm_bind(&a, &data);
    out->thunk[BACK_THUNK_FLAGS] = asm_pos(&a) + (uint32_t)offsetof(struct thunk_data, fflags);
    thunk_fill_data(&values);
    asm_data(&a, &values, sizeof values);
    code->size = code->hot_size = asm_pos(&a);
    code->link_count = code->ref_count = code->site_count = 0;
    return !a.overflow;
}

void back_place(const struct back_code *code, void *place, const void *exec,
                const struct back_thunks *thunks, const void *thunks_exec)
{
    for (uint32_t i = 0; i < code->ref_count; i++) {
        const struct back_ref *ref = &code->refs[i];
        uint64_t target = (uint64_t)(uintptr_t)thunks_exec + thunks->thunk[ref->thunk];
        uint64_t next = (uint64_t)(uintptr_t)exec + ref->field + 4;
        uint32_t distance = (uint32_t)(target - next);
        memcpy((uint8_t *)place + ref->field, &distance, sizeof distance);
    }
}
