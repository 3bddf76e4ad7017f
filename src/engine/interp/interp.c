/*
 * The interpreter's loop.
 *
 * Every operation of the instruction table becomes a label (two, when a compressed encoding
 * expands to it, so that the step to the next slot is a constant). What an operation does is said
 * by its kind: the OP_<kind> macros below, which use the pure functions of alu.h, exec_fp.h and
 * exec_amo.h. A decoded slot holds the number of its label; `dispatch` is the table that turns it
 * into an address.
 *
 * Stopping. `icount` is compared with v->stop_at at every transfer of control, and a kick sets
 * stop_at to 0; straight-line code is left at the end of its page at the latest. To stop exactly
 * after a number of instructions, and for breakpoints, `dispatch` is exchanged for a table whose
 * every entry is the label `step`, which looks before each instruction.
 *
 * Registers of the loop (ip, page, icount) are written back to the hart before anything that can
 * look at it: traps, CSRs, memory accesses off the fast path, leaving.
 */
#include "engine/interp/interp_impl.h"

#include "base/bits.h"
#include "engine/interp/exec_amo.h"
#include "engine/interp/exec_fp.h"
#include "engine/rv_direct.h"
#include "engine/rv_mem.h"
#include "engine/rv_sys.h"
#include "host/guarded_inline.h"
#include "isa/riscv64/alu.h"
#include "isa/riscv64/decode.h"

/* The longest run of instructions between two looks at stop_at: a page of compressed ones. */
#define INTERP_MAX_RUN (CODE_SLOTS + 2)

/* ---- decoding into slots ---- */

static uint8_t slot_rd(const struct rv_insn *in)
{
    return rv_op_info(in->op)->rd_class == RV_CLASS_x && !in->rd ? 32 : in->rd;
}

/* At once: other threads of a process may be at the slot. */
static void slot_set(struct code_slot *to, struct code_slot s)
{
    uint64_t word;
    memcpy(&word, &s, sizeof word);
    __atomic_store_n((uint64_t *)(void *)to, word, __ATOMIC_RELAXED);
}

static struct code_slot slot_of(struct interp *it, const struct rv_hart *h, uint32_t bits)
{
    struct rv_insn in;
    it->decoded++;
    if (!rv_decode(bits, h->exts, &in))
        return (struct code_slot){.handler = HANDLER_ILLEGAL};
    struct code_slot s = {.handler = (uint16_t)HANDLER(in.op, in.len == 2), .b = in.rs1};
    switch (rv_op_info(in.op)->kind) {
    case RV_KIND_STORE:
    case RV_KIND_FSTORE:
    case RV_KIND_BRANCH:
        s.a = in.rs2;
        s.imm = in.imm;
        break;
    case RV_KIND_FP:
        s.a = slot_rd(&in);
        s.imm = in.rs2 | in.rs3 << 8 | in.rm << 16;
        break;
    case RV_KIND_ALU_RR:
    case RV_KIND_LR:
    case RV_KIND_SC:
    case RV_KIND_AMO:
    case RV_KIND_AMOCAS:
    case RV_KIND_SYSTEM:
        s.a = slot_rd(&in);
        s.imm = in.rs2;
        break;
    default:
        s.a = slot_rd(&in);
        s.imm = in.imm;
        break;
    }
    return s;
}

/* Where protection differs within a page, both halves of a long instruction have to be allowed. */
static bool interp_second_half(struct rv_hart *h, const struct code_page *p, uint64_t pc,
                               struct rv_fault *fault)
{
    uint64_t offset = pc & (RV_PAGE - 1);
    if ((p->bytes[offset] & 3) != 3 || offset == RV_PAGE - 2)
        return true;
    struct rv_translation t;
    fault->tval = pc + 2;
    return rv_translate(h, h->fetch_view, pc + 2, 2, RV_EXEC, &t, &fault->cause);
}

/* In place of a cause: a process's code pages are full, the owner has to make room. */
#define INTERP_NO_ROOM ((enum rv_cause)255)

/* The code page that holds pc, entered into the hart's fetch TLB; NULL with *fault. */
static struct code_page *interp_enter(struct vcpu *v, uint64_t pc, bool *transient,
                                      struct rv_fault *fault)
{
    struct interp *it = v->engine_data;
    struct rv_hart *h = v->arch;
    gpa_t gpa;
    const uint8_t *bytes = rv_mem_fetch(v, pc, &gpa, fault);
    if (!bytes)
        return NULL;
    bool restarted;
    struct code_page *p = code_cache_get(it->code, gpa, bytes, h->code_epoch, &restarted);
    if (restarted)
        rv_fetch_forget(h);
    if (!p) {
        *fault = (struct rv_fault){RV_CAUSE_FETCH_PAGE, pc};
        if (code_cache_full(it->code))
            fault->cause = INTERP_NO_ROOM;
        return NULL;
    }
    if (!p->noticed && it->hooks)
        it->hooks->page_made(v, p, align_down(pc, RV_PAGE));
    struct rv_fetch_entry *e = &h->fetch->entry[rv_fetch_index(pc)];
    *transient = e->tag != align_down(pc, RV_PAGE);
    if (!*transient)
        e->code = p;
    else if (!interp_second_half(h, p, pc, fault))
        return NULL;
    return p;
}

/* The page has nothing that was decoded, and gets it anew. */
static void interp_open(struct vcpu *v, struct code_page *page, uint64_t pc, uint64_t icount)
{
    struct interp *it = v->engine_data;
    code_cache_open(it->code, page, icount);
    if (it->hooks)
        it->hooks->page_opened(v, page, align_down(pc, RV_PAGE));
}

/* Decodes the instruction whose second half is on the page after pc's. */
static bool interp_cross(struct vcpu *v, struct code_page *page, uint64_t pc,
                         struct rv_fault *fault)
{
    gpa_t gpa;
    const uint8_t *next = rv_mem_fetch(v, pc + 2, &gpa, fault);
    if (!next)
        return false;
    page->run[CODE_SLOTS / 64 - 1] |= UINT64_C(1) << 63;
    uint32_t bits = le16_get(&page->bytes[4094]) | (uint32_t)le16_get(next) << 16;
    if (bits != page->cross_bits || !page->cross_handler) {
        struct code_slot s = slot_of(v->engine_data, v->arch, bits);
        unsigned handler = s.handler;
        struct code_slot *last = &page->slots[CODE_SLOTS - 1];
        s.handler = HANDLER_CROSSING + (last->handler < HANDLER_NATIVE ? 0 : HANDLER_NATIVE);
        slot_set(last, s);
        page->cross_bits = bits;
        __atomic_store_n(&page->cross_handler, (uint16_t)handler, __ATOMIC_RELEASE);
    }
    return true;
}

static uint32_t page_bits(const struct code_page *page, unsigned slot)
{
    uint16_t low = le16_get(&page->bytes[2 * slot]);
    if ((low & 3) != 3)
        return low;
    return slot == CODE_SLOTS - 1 ? page->cross_bits : le32_get(&page->bytes[2 * slot]);
}

/* The handler of a slot, without its native code. */
static unsigned slot_handler(const struct code_slot *s)
{
    unsigned handler = s->handler;
    return handler < HANDLER_NATIVE ? handler : handler - HANDLER_NATIVE;
}

/* ---- operations that need more than a line ---- */

/* Zacas: rd is the expected value and receives the former one; .q uses register pairs. */
static bool exec_amocas_q(struct vcpu *v, const struct code_slot *s, struct rv_fault *fault)
{
    typedef unsigned __int128 u128;
    struct rv_hart *h = v->arch;
    void *p = rv_mem_atomic(v, h->x[s->b], 16, RV_WRITE, fault);
    if (!p)
        return false;
    unsigned rd = s->a & 31, rs2 = (unsigned)s->imm;
    u128 old = rd ? (u128)h->x[rd + 1] << 64 | h->x[rd] : 0;
    u128 new = rs2 ? (u128)h->x[rs2 + 1] << 64 | h->x[rs2] : 0;
    u128 got = __sync_val_compare_and_swap((u128 *)p, old, new);
    if (rd) {
        h->x[rd] = (uint64_t)got;
        h->x[rd + 1] = (uint64_t)(got >> 64);
    }
    return true;
}

static bool exec_amocas(struct vcpu *v, unsigned op, const struct code_slot *s,
                        struct rv_fault *fault)
{
    struct rv_hart *h = v->arch;
    if (op != RV_OP_AMOCAS_W && op != RV_OP_AMOCAS_D)
        return exec_amocas_q(v, s, fault);
    unsigned size = op == RV_OP_AMOCAS_W ? 4 : 8;
    uint64_t old = h->x[s->a & 31];
    if (!rv_mem_cas(v, h->x[s->b], size, &old, h->x[s->imm], fault))
        return false;
    h->x[s->a] = size == 8 ? old : bits_sext(old, 32);
    return true;
}

/* False with *illegal or *fault. */
static bool exec_cbo(struct vcpu *v, unsigned op, uint64_t va, bool *illegal,
                     struct rv_fault *fault)
{
    bool flushes;
    *illegal = !rv_sys_cbo_allowed(v->arch, op, &flushes);
    return !*illegal && rv_mem_cbo(v, va, op == RV_OP_CBO_ZERO ? RV_CBO_ZERO : RV_CBO_FLUSH, fault);
}

/* The owner of a process's vCPU stops the others, with which it shares what was decoded. */
static void exec_fence_i(struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (h->process)
        vcpu_request(v, VCPU_REQ_FENCE_I);
    else
        rv_fence_i(h);
}

static bool interp_breakpoint(struct vcpu *v, uint64_t pc)
{
    for (unsigned i = 0; i < v->debug.breakpoint_count; i++)
        if (v->debug.breakpoints[i] == pc)
            return true;
    return false;
}

/* A trap takes time but is no retired instruction. */
void interp_trap(struct vcpu *v, const struct rv_fault *fault)
{
    struct rv_hart *h = v->arch;
    ((struct interp *)v->engine_data)->traps++;
    h->icount++;
    if (!(h->mcountinhibit & 4))
        h->minstret_offset--;
    rv_trap_exception(h, fault->cause, fault->tval);
}

/* ---- the loop ---- */

/* Element types of the loads and stores. */
#define MEM_lb int8_t
#define MEM_lbu uint8_t
#define MEM_lh int16_t
#define MEM_lhu uint16_t
#define MEM_lw int32_t
#define MEM_lwu uint32_t
#define MEM_ld uint64_t
#define MEM_sb uint8_t
#define MEM_sh uint16_t
#define MEM_sw uint32_t
#define MEM_sd uint64_t
#define MEM_flh uint16_t
#define MEM_flw uint32_t
#define MEM_fld uint64_t
#define MEM_fsh uint16_t
#define MEM_fsw uint32_t
#define MEM_fsd uint64_t
#define BOX_flh(v) fp16_box(v)
#define BOX_flw(v) fp32_box(v)
#define BOX_fld(v) (v)

#define X(n) h->x[n]
#define IMM ((uint64_t)(int64_t)ip->imm)
#define SLOT ((unsigned)(ip - page->slots))
#define PC (page_va + 2 * (uint64_t)(ip - page->slots))

#define GOTO_NEXT(len)               \
    do {                             \
        ip += (len) / 2;             \
        icount++;                    \
        goto *dispatch[ip->handler]; \
    } while (0)

/* Leaves the loop's registers in the hart, with the pc of this instruction. */
#define SYNC() (h->pc = PC, h->icount = icount)

#define HIT(tag, va, T) likely(((va) & (~UINT64_C(0xfff) | (sizeof(T) - 1))) == (tag))
#define HOST(e, va, T) ((T *)(uintptr_t)((va) + (e)->addend))

#define FP_ON(bits)                                  \
    do {                                             \
        if (unlikely(!(h->mstatus & RV_MSTATUS_FS))) \
            goto illegal;                            \
        h->mstatus |= (bits);                        \
    } while (0)

#define OP_alu_rr(ID, name, sem, len)              \
    X(ip->a) = rv_alu_##sem(X(ip->b), X(ip->imm)); \
    GOTO_NEXT(len);

#define OP_alu_ri(ID, name, sem, len)       \
    X(ip->a) = rv_alu_##sem(X(ip->b), IMM); \
    GOTO_NEXT(len);

#define OP_alu_r(ID, name, sem, len)   \
    X(ip->a) = rv_alu_##sem(X(ip->b)); \
    GOTO_NEXT(len);

#define OP_lui(ID, name, sem, len) \
    X(ip->a) = IMM;                \
    GOTO_NEXT(len);

#define OP_auipc(ID, name, sem, len) \
    X(ip->a) = PC + IMM;             \
    GOTO_NEXT(len);

/* Reads into `value`; the slow path goes to `fault`. */
#define LOAD(name, len)                                                                    \
    uint64_t va = X(ip->b) + IMM;                                                          \
    const struct rv_tlb_entry *e;                                                          \
    MEM_##name value;                                                                      \
    if (!tlb) {                                                                            \
        GUARDED_LOAD(value, va, slow_##name##_##len);                                      \
    } else if (e = &tlb[rv_tlb_index(va)], HIT(e->rtag, va, MEM_##name)) {                 \
        value = __atomic_load_n(HOST(e, va, MEM_##name), __ATOMIC_RELAXED);                \
    } else {                                                                               \
        slow_##name##_##len : if (GUARDED_INLINE && !tlb)                                  \
        {                                                                                  \
            fault = (struct rv_fault){RV_CAUSE_LOAD_PAGE,                                  \
                                      rv_direct_refused(va, sizeof(MEM_##name), RV_READ)}; \
            goto fault;                                                                    \
        }                                                                                  \
        uint64_t raw;                                                                      \
        SYNC();                                                                            \
        it->tlb_misses++;                                                                  \
        if (!rv_mem_load(v, va, sizeof value, &raw, &fault))                               \
            goto fault;                                                                    \
        value = (MEM_##name)raw;                                                           \
    }

#define STORE(name, data, len)                                                              \
    uint64_t va = X(ip->b) + IMM;                                                           \
    const struct rv_tlb_entry *e;                                                           \
    if (!tlb) {                                                                             \
        GUARDED_STORE((MEM_##name)(data), va, slow_##name##_##len);                         \
    } else if (e = &tlb[rv_tlb_index(va)], HIT(e->wtag, va, MEM_##name)) {                  \
        __atomic_store_n(HOST(e, va, MEM_##name), (MEM_##name)(data), __ATOMIC_RELAXED);    \
    } else {                                                                                \
        slow_##name##_##len : if (GUARDED_INLINE && !tlb)                                   \
        {                                                                                   \
            fault = (struct rv_fault){RV_CAUSE_STORE_PAGE,                                  \
                                      rv_direct_refused(va, sizeof(MEM_##name), RV_WRITE)}; \
            goto fault;                                                                     \
        }                                                                                   \
        SYNC();                                                                             \
        it->tlb_misses++;                                                                   \
        if (!rv_mem_store(v, va, sizeof(MEM_##name), (data), &fault))                       \
            goto fault;                                                                     \
    }

#define OP_load(ID, name, sem, len)      \
    LOAD(name, len)                      \
    X(ip->a) = (uint64_t)(int64_t)value; \
    GOTO_NEXT(len);

#define OP_fload(ID, name, sem, len)           \
    FP_ON(0);                                  \
    LOAD(name, len)                            \
    h->f[ip->a] = BOX_##name((uint64_t)value); \
    h->mstatus |= RV_MSTATUS_FS;               \
    GOTO_NEXT(len);

#define OP_store(ID, name, sem, len) \
    STORE(name, X(ip->a), len)       \
    GOTO_NEXT(len);

#define OP_fstore(ID, name, sem, len) \
    FP_ON(0);                         \
    STORE(name, h->f[ip->a], len)     \
    GOTO_NEXT(len);

/* A jump within the page stays in its slots; everything else looks the page up. */
#define GOTO_TARGET(from_ip, displacement)                                                 \
    do {                                                                                   \
        uint64_t offset = 2 * (uint64_t)((from_ip)-page->slots) + (displacement);          \
        icount++;                                                                          \
        if (unlikely(offset >= RV_PAGE)) {                                                 \
            pc = page_va + offset;                                                         \
            goto jump;                                                                     \
        }                                                                                  \
        ip = &page->slots[offset / 2];                                                     \
        if (unlikely(icount >= atomic_load_explicit(&v->stop_at, memory_order_relaxed))) { \
            pc = page_va + offset;                                                         \
            goto stop;                                                                     \
        }                                                                                  \
        if (unlikely(!--*hot_counter(it, ip)))                                             \
            goto hot;                                                                      \
        goto *dispatch[ip->handler];                                                       \
    } while (0)

#define OP_branch(ID, name, sem, len)       \
    if (rv_cond_##name(X(ip->b), X(ip->a))) \
        GOTO_TARGET(ip, IMM);               \
    GOTO_NEXT(len);

#define OP_jal(ID, name, sem, len) \
    X(ip->a) = PC + (len);         \
    GOTO_TARGET(ip, IMM);

#define OP_jalr(ID, name, sem, len)       \
    pc = (X(ip->b) + IMM) & ~UINT64_C(1); \
    X(ip->a) = PC + (len);                \
    icount++;                             \
    goto jump;

#define OP_lr(ID, name, sem, len)                                                     \
    SYNC();                                                                           \
    if (!rv_mem_lr(v, X(ip->b), RV_OP_##ID == RV_OP_LR_D ? 8 : 4, &X(ip->a), &fault)) \
        goto fault;                                                                   \
    GOTO_NEXT(len);

#define OP_sc(ID, name, sem, len)                                                               \
    bool failed;                                                                                \
    SYNC();                                                                                     \
    if (!rv_mem_sc(v, X(ip->b), RV_OP_##ID == RV_OP_SC_D ? 8 : 4, X(ip->imm), &failed, &fault)) \
        goto fault;                                                                             \
    X(ip->a) = failed;                                                                          \
    GOTO_NEXT(len);

#define OP_amo(ID, name, sem, len)                                                                \
    uint64_t va = X(ip->b);                                                                       \
    const struct rv_tlb_entry *e;                                                                 \
    if (tlb && (e = &tlb[rv_tlb_index(va)], HIT(e->wtag | e->rtag, va, amo_type_##name))) {       \
        X(ip->a) = amo_##name(HOST(e, va, void), X(ip->imm));                                     \
    } else {                                                                                      \
        uint64_t result;                                                                          \
        SYNC();                                                                                   \
        if (!rv_mem_amo(v, va, sizeof(amo_type_##name), amo_##name, X(ip->imm), &result, &fault)) \
            goto fault;                                                                           \
        X(ip->a) = result;                                                                        \
    }                                                                                             \
    GOTO_NEXT(len);

#define OP_amocas(ID, name, sem, len)            \
    SYNC();                                      \
    if (!exec_amocas(v, RV_OP_##ID, ip, &fault)) \
        goto fault;                              \
    GOTO_NEXT(len);

#define OP_csr(ID, name, sem, len)                                                  \
    unsigned effects;                                                               \
    SYNC();                                                                         \
    if (!rv_sys_csr(h, RV_OP_##ID, (unsigned)ip->imm, ip->a & 31, ip->b, &effects)) \
        goto illegal;                                                               \
    if (effects) {                                                                  \
        pc = PC + (len);                                                            \
        icount++;                                                                   \
        goto resume;                                                                \
    }                                                                               \
    GOTO_NEXT(len);

#define OP_fp(ID, name, sem, len) \
    FP_ON(0);                     \
    if (!fp_exec_##name(h, ip))   \
        goto illegal;             \
    h->mstatus |= RV_MSTATUS_FS;  \
    GOTO_NEXT(len);

#define OP_fence(ID, name, sem, len)         \
    if (RV_OP_##ID == RV_OP_FENCE_I) {       \
        exec_fence_i(v);                     \
        pc = PC + (len);                     \
        icount++;                            \
        goto jump;                           \
    }                                        \
    __atomic_thread_fence(__ATOMIC_SEQ_CST); \
    GOTO_NEXT(len);

#define OP_hint(ID, name, sem, len) GOTO_NEXT(len);

#define OP_cbo(ID, name, sem, len)                          \
    bool bad;                                               \
    SYNC();                                                 \
    if (!exec_cbo(v, RV_OP_##ID, X(ip->b), &bad, &fault)) { \
        if (bad)                                            \
            goto illegal;                                   \
        goto fault;                                         \
    }                                                       \
    GOTO_NEXT(len);

#define OP_system(ID, name, sem, len)                                     \
    SYNC();                                                               \
    sys = rv_sys_exec(v, RV_OP_##ID, X(ip->b), ip->b, (unsigned)ip->imm); \
    next_pc = PC + (len);                                                 \
    goto system;

/* From where on `n` instructions may be too many; now, if they are already. */
static uint64_t limit_before(uint64_t limit, uint64_t icount, uint64_t n)
{
    return limit - icount > n ? limit - n : icount;
}

enum vcpu_exit interp_run(struct vcpu *v, uint64_t max_insns)
{
#define IF_0(...)
#define IF_1(...) __VA_ARGS__
#define RV_OP(ID, name, kind, sem, ext, hasc) \
    [HANDLER(RV_OP_##ID, 0)] = &&name##_4, IF_##hasc([HANDLER(RV_OP_##ID, 1)] = &&name##_2, )
    static const void *const run_table[2 * HANDLER_COUNT] = {
        [HANDLER_ILLEGAL] = &&illegal,
        [HANDLER_UNDECODED] = &&undecoded,
        [HANDLER_CROSSING] = &&crossing,
        [HANDLER_PAGE_END] = &&page_end,
        [HANDLER_NATIVE... 2 * HANDLER_COUNT - 1] = &&native,
#include "isa/riscv64/rv_ops.def"
    };
#undef RV_OP
    static const void *const step_table[2 * HANDLER_COUNT] = {[0 ... 2 * HANDLER_COUNT - 1] =
                                                                  &&step};

    struct rv_hart *h = v->arch;
    struct interp *it = v->engine_data;
    const void *const *dispatch = run_table;
    struct code_page *page = NULL;
    struct code_slot *ip = NULL;
    struct rv_tlb_entry *tlb = NULL; /* stays so for a process */
    uint64_t page_va = 0, pc = h->pc, next_pc, icount = h->icount;
    const uint64_t limit = max_insns > UINT64_MAX - icount ? UINT64_MAX : icount + max_insns;
    bool transient = false, looked_up = false, first = true;
    const bool debug = v->debug.breakpoint_count || v->debug.watchpoint_count;
    const uint64_t soft_limit = limit_before(limit, icount, INTERP_MAX_RUN);
    const uint64_t native_limit =
        it->hooks && !debug ? limit_before(limit, icount, it->hooks->longest_run) : icount;
    enum vcpu_exit exit = VCPU_EXIT_KICK;
    enum rv_sys_result sys;
    struct rv_fault fault;

    if (!max_insns)
        return VCPU_EXIT_LIMIT;
    v->debug.hit_watch = false;
    if (!atomic_exchange(&v->stop_at, soft_limit > icount     ? soft_limit
                                      : native_limit > icount ? native_limit
                                                              : limit))
        goto leave;
    if (debug || soft_limit == icount)
        dispatch = step_table;
    goto resume;

    /* pc is where to go on; interrupts and the view of memory may have changed. */
resume:
    h->pc = pc;
    h->icount = icount;
    {
        int irq = v->debug.hold_interrupts ? -1 : rv_interrupt_pending(h);
        if (irq >= 0) {
            rv_trap_interrupt(h, (unsigned)irq);
            pc = h->pc;
        }
    }
    tlb = h->process ? NULL : h->tlb->entry;

    /* pc is where to go on, on whatever page. */
jump:
    if (unlikely(icount >= atomic_load_explicit(&v->stop_at, memory_order_relaxed)))
        goto stop;
enter : {
    const struct rv_fetch_entry *e = &h->fetch->entry[rv_fetch_index(pc)];
    page = e->code;
    if (unlikely(e->tag != align_down(pc, RV_PAGE) || !page)) {
        page = interp_enter(v, pc, &transient, &fault);
        if (!page)
            goto fetch_fault;
        if (unlikely(transient)) {
            dispatch = step_table;
            looked_up = true;
        }
    }
    if (unlikely(!page->slots))
        interp_open(v, page, pc, icount);
    page_va = align_down(pc, RV_PAGE);
    ip = &page->slots[(pc & (RV_PAGE - 1)) / 2];
    if (unlikely(!--*hot_counter(it, ip)))
        goto hot;
    goto *dispatch[ip->handler];
}

hot:
    *hot_counter(it, ip) = it->threshold;
    if (it->hooks && !transient && ip->handler < HANDLER_NATIVE) {
        SYNC();
        it->hooks->hot(v, page, SLOT, page_va);
    }
    goto *dispatch[ip->handler];

native:
    SYNC();
    switch (it->hooks->native(v, page, h->pc)) {
    case NATIVE_INTERPRET:
        goto *run_table[slot_handler(ip)];
    case NATIVE_CALL:
        exit = VCPU_EXIT_CALL;
        goto leave;
    case NATIVE_TRAP:
        exit = VCPU_EXIT_TRAP;
        goto leave;
    case NATIVE_GO_ON:
        break;
    }
    icount = h->icount;
    pc = h->pc;
    goto resume;

    /* Someone wants a stop, or the limit is near: from here on one instruction at a time, and
     * native code, which returns sooner than the interpreter, as long as that may be. */
stop:
    h->pc = pc;
    h->icount = icount;
    if (icount >= limit) {
        exit = VCPU_EXIT_LIMIT;
        goto leave;
    }
    {
        uint64_t seen = atomic_load(&v->stop_at);
        uint64_t next = icount < native_limit ? native_limit : limit;
        if (!seen || (!atomic_compare_exchange_strong(&v->stop_at, &seen, next) && !seen))
            goto leave;
    }
    dispatch = step_table;
    goto enter;

    /* Before each instruction, when dispatch is step_table. */
step:
    if (icount >= limit) {
        SYNC();
        exit = VCPU_EXIT_LIMIT;
        goto leave;
    }
    if (unlikely(debug)) {
        if (v->debug.hit_watch ||
            (!(first && v->debug.skip_breakpoint) && interp_breakpoint(v, PC))) {
            SYNC();
            exit = VCPU_EXIT_DEBUG;
            goto leave;
        }
    }
    if (unlikely(transient) && !looked_up) {
        /* Protection differs within the page: every instruction is looked up anew. */
        transient = false;
        pc = PC;
        if (!debug && icount < soft_limit)
            dispatch = run_table;
        goto enter;
    }
    looked_up = false;
    first = false;
    if (ip->handler >= HANDLER_NATIVE && icount < native_limit && !transient)
        goto native;
    goto *run_table[slot_handler(ip)];

undecoded:
    __atomic_fetch_or(&page->run[SLOT / 64], UINT64_C(1) << SLOT % 64, __ATOMIC_RELAXED);
    {
        struct code_slot decoded = slot_of(it, h, page_bits(page, SLOT));
        unsigned handler = decoded.handler;
        if (ip->handler >= HANDLER_NATIVE)
            decoded.handler += HANDLER_NATIVE;
        slot_set(ip, decoded);
        goto *run_table[handler];
    }

crossing:
    SYNC();
    if (!interp_cross(v, page, PC, &fault))
        goto fault;
    goto *run_table[page->cross_handler];

page_end:
    pc = PC;
    goto jump;

system:
    switch (sys) {
    case RV_SYS_NEXT:
        pc = next_pc;
        icount++;
        goto jump;
    case RV_SYS_JUMP:
        pc = h->pc;
        icount++;
        goto resume;
    case RV_SYS_ILLEGAL:
        goto illegal;
    case RV_SYS_ECALL:
        fault = (struct rv_fault){RV_CAUSE_ECALL_U + h->priv, 0};
        goto fault;
    case RV_SYS_EBREAK:
        fault = (struct rv_fault){RV_CAUSE_BREAKPOINT, PC};
        goto fault;
    case RV_SYS_CALL:
    case RV_SYS_WAIT:
        h->pc = next_pc;
        h->icount = ++icount;
        exit = sys == RV_SYS_CALL ? VCPU_EXIT_CALL : VCPU_EXIT_WAIT;
        goto leave;
    }

illegal:
    fault = (struct rv_fault){RV_CAUSE_ILLEGAL, page_bits(page, SLOT)};
fault:
    pc = PC;
fetch_fault:
    h->pc = pc;
    h->icount = icount;
    if (h->process && fault.cause == INTERP_NO_ROOM) {
        atomic_fetch_or(&v->requests, VCPU_REQ_RENEW);
        goto leave;
    }
    if (h->process) {
        h->scause = fault.cause;
        h->stval = fault.tval;
        exit = VCPU_EXIT_TRAP;
        goto leave;
    }
    interp_trap(v, &fault);
    icount = h->icount;
    pc = h->pc;
    goto resume;

leave:
    /* The access may have been the last one before the limit or the page's end. */
    if (unlikely(v->debug.hit_watch))
        exit = VCPU_EXIT_DEBUG;
    /* A kick that came too late for this run must end the next one. */
    if (!atomic_exchange(&v->stop_at, UINT64_MAX) && exit != VCPU_EXIT_KICK)
        atomic_store(&v->stop_at, 0);
    return exit;

#define RV_OP(ID, name, kind, sem, ext, hasc) \
    name##_4 : {OP_##kind(ID, name, sem, 4)} IF_##hasc(name##_2 : {OP_##kind(ID, name, sem, 2)})
#include "isa/riscv64/rv_ops.def"
#undef RV_OP
#undef IF_0
#undef IF_1
}
