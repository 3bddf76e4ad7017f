/*
 * The table of control and status registers at the end of this file is the only list of what
 * exists. A row with a field is stored there, and `wmask` says which bits software can change; a
 * row with functions computes. Everything not in the table is an illegal instruction.
 *
 * Sections of "AIA" are those of the RISC-V Advanced Interrupt Architecture, version 1.0.
 */
#include "isa/riscv64/csr.h"

#include "base/bits.h"
#include "isa/riscv64/mmu.h"

struct csr {
    uint64_t (*read)(struct rv_hart *h, unsigned number);
    void (*write)(struct rv_hart *h, unsigned number, uint64_t value);
    /*
     * Instead of read and write, for what others change at the same time: the old value, then, with
     * `change`, the bits of clear are cleared and those of set set. False: illegal instruction.
     */
    bool (*access)(struct rv_hart *h, unsigned number, bool change, uint64_t clear, uint64_t set,
                   uint64_t *old);
    bool (*allowed)(const struct rv_hart *h, unsigned number); /* NULL: by privilege alone */
    uint16_t first, last;                                      /* numbers of which it is this row */
    uint16_t field; /* offset of a uint64_t in the hart, when read or write is NULL */
    bool aia;       /* of harts with an IMSIC only */
    uint8_t effects;
    uint64_t wmask;
};

#define S_IRQS (1u << RV_IRQ_SSI | 1u << RV_IRQ_STI | 1u << RV_IRQ_SEI)
#define M_IRQS (1u << RV_IRQ_MSI | 1u << RV_IRQ_MTI | 1u << RV_IRQ_MEI)

static uint64_t *csr_field(struct rv_hart *h, const struct csr *c)
{
    return (uint64_t *)(void *)((char *)h + c->field);
}

/* ---- who may (counters 3.1.11, virtual memory 3.1.6.6, FP 3.1.6.7, Sstc) ---- */

static bool allow_fp(const struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->mstatus & RV_MSTATUS_FS;
}

static bool allow_counter(const struct rv_hart *h, unsigned number)
{
    uint64_t bit = UINT64_C(1) << (number & 31);
    return h->priv == RV_PRIV_M ||
           ((h->mcounteren & bit) && (h->priv == RV_PRIV_S || (h->scounteren & bit)));
}

static bool allow_satp(const struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->priv != RV_PRIV_S || !(h->mstatus & RV_MSTATUS_TVM);
}

static bool allow_stimecmp(const struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->priv == RV_PRIV_M || ((h->menvcfg & RV_ENVCFG_STCE) && (h->mcounteren & 2));
}

/* ---- floating point ---- */

static uint64_t fflags_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->fflags;
}

static uint64_t frm_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->frm;
}

static uint64_t fcsr_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return (uint64_t)h->frm << 5 | h->fflags;
}

static void fflags_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->fflags = v & 31;
    h->mstatus |= RV_MSTATUS_FS;
}

static void frm_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->frm = v & 7;
    h->mstatus |= RV_MSTATUS_FS;
}

static void fcsr_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->fflags = v & 31;
    h->frm = v >> 5 & 7;
    h->mstatus |= RV_MSTATUS_FS;
}

/* ---- counters ---- */

static uint64_t zero_read(struct rv_hart *h, unsigned number)
{
    (void)h;
    (void)number;
    return 0;
}

static void ignore_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)h;
    (void)number;
    (void)v;
}

static uint64_t time_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->env.time(h->env.ctx);
}

/* While a counter is inhibited its offset holds the frozen value itself. */
static uint64_t cycle_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->mcycle_offset + (h->mcountinhibit & 1 ? 0 : h->icount);
}

static uint64_t instret_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->minstret_offset + (h->mcountinhibit & 4 ? 0 : h->icount);
}

/* The write itself retires after it: the next read is to see the value plus what follows. */
static void cycle_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->mcycle_offset = v - (h->mcountinhibit & 1 ? 0 : h->icount + 1);
}

static void instret_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->minstret_offset = v - (h->mcountinhibit & 4 ? 0 : h->icount + 1);
}

static void countinhibit_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    uint64_t cycle = cycle_read(h, number), instret = instret_read(h, number);
    h->mcountinhibit = v & 5;
    h->mcycle_offset = cycle - (v & 1 ? 0 : h->icount);
    h->minstret_offset = instret - (v & 4 ? 0 : h->icount);
}

/* ---- status ---- */

#define SSTATUS_W                                                                         \
    (RV_MSTATUS_SIE | RV_MSTATUS_SPIE | RV_MSTATUS_SPP | RV_MSTATUS_FS | RV_MSTATUS_SUM | \
     RV_MSTATUS_MXR)
#define SSTATUS_R (SSTATUS_W | RV_MSTATUS_VS | RV_MSTATUS_XS | RV_MSTATUS_UXL | RV_MSTATUS_SD)
#define MSTATUS_W                                                                      \
    (SSTATUS_W | RV_MSTATUS_MIE | RV_MSTATUS_MPIE | RV_MSTATUS_MPP | RV_MSTATUS_MPRV | \
     RV_MSTATUS_TVM | RV_MSTATUS_TW | RV_MSTATUS_TSR)

static void status_update(struct rv_hart *h, uint64_t mask, uint64_t v)
{
    uint64_t new = (h->mstatus & ~mask) | (v & mask);
    if ((new &RV_MSTATUS_MPP) == UINT64_C(2) << RV_MSTATUS_MPP_SHIFT)
        new = (new & ~RV_MSTATUS_MPP) | (h->mstatus & RV_MSTATUS_MPP);
    bool mxr_changed = (new ^ h->mstatus) & RV_MSTATUS_MXR;
    h->mstatus = new;
    if (mxr_changed)
        rv_tlb_flush(h);
    rv_hart_view_changed(h);
}

static uint64_t mstatus_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return rv_mstatus(h);
}

static void mstatus_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    status_update(h, MSTATUS_W, v);
}

static uint64_t sstatus_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return rv_mstatus(h) & SSTATUS_R;
}

static void sstatus_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    status_update(h, SSTATUS_W, v);
}

/* ---- interrupts (3.1.9, 10.1.3) ---- */

static uint64_t mip_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return rv_mip(h);
}

/* With Sstc enabled STIP is the timer's, not software's; what software had set is forgotten then.
 */
static void mip_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    uint64_t mask = S_IRQS;
    if (h->menvcfg & RV_ENVCFG_STCE)
        mask &= ~(UINT64_C(1) << RV_IRQ_STI);
    h->mip = (h->mip & ~mask) | (v & mask);
}

static uint64_t sip_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return rv_mip(h) & h->mideleg;
}

static void sip_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    uint64_t mask = h->mideleg & (1u << RV_IRQ_SSI);
    h->mip = (h->mip & ~mask) | (v & mask);
}

static uint64_t sie_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->mie & h->mideleg;
}

static void sie_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    uint64_t mask = h->mideleg & S_IRQS;
    h->mie = (h->mie & ~mask) | (v & mask);
}

static void stimecmp_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->stimecmp = v;
    h->env.stimecmp_changed(h);
}

/* ---- advanced interrupts ---- */

static unsigned csr_priv(unsigned number)
{
    return number >> 8 & 3;
}

static uint64_t *iselect_of(struct rv_hart *h, unsigned number)
{
    return csr_priv(number) == RV_PRIV_M ? &h->miselect : &h->siselect;
}

static uint64_t iselect_read(struct rv_hart *h, unsigned number)
{
    return *iselect_of(h, number);
}

static void iselect_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    *iselect_of(h, number) = v & RV_ISELECT_MASK;
}

/* AIA 2.1: priorities of major interrupts, which are fixed here, or the interrupt file. */
static bool ireg_access(struct rv_hart *h, unsigned number, bool change, uint64_t clear,
                        uint64_t set, uint64_t *old)
{
    unsigned select = (unsigned)*iselect_of(h, number);
    *old = 0;
    if (select >= 0x30 && select < 0x40)
        return !(select & 1);
    return h->env.imsic_reg(h->env.ctx, csr_priv(number), select, change ? clear : 0,
                            change ? set : 0, old);
}

/* AIA 3.9: a write claims, whatever its value. */
static bool topei_access(struct rv_hart *h, unsigned number, bool change, uint64_t clear,
                         uint64_t set, uint64_t *old)
{
    (void)clear;
    (void)set;
    *old = h->env.imsic_top(h->env.ctx, csr_priv(number), change);
    return true;
}

/* AIA 5.2.2 and 5.4.2: with fixed priorities the priority field is 1. */
static uint64_t topi_read(struct rv_hart *h, unsigned number)
{
    uint64_t mine = csr_priv(number) == RV_PRIV_M ? ~h->mideleg : h->mideleg;
    int first = rv_interrupt_first(rv_mip(h) & h->mie & mine);
    return first < 0 ? 0 : (uint64_t)first << 16 | 1;
}

/* AIA 5.3: there are no virtual interrupts; mvip shows what software writes in mip. */
static uint64_t mvip_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    bool timer = h->menvcfg & RV_ENVCFG_STCE;
    return h->mip & S_IRQS & ~(timer ? UINT64_C(1) << RV_IRQ_STI : 0);
}

/* ---- environment ---- */

#define ENVCFG_W (RV_ENVCFG_FIOM | RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE)

/* CBIE = 2 is reserved and keeps the former value. */
static uint64_t envcfg_legal(uint64_t old, uint64_t mask, uint64_t v)
{
    uint64_t new = (old & ~mask) | (v & mask);
    if (bits_get(new, 4, 2) == 2)
        new = (new & ~RV_ENVCFG_CBIE) | (old & RV_ENVCFG_CBIE);
    return new;
}

static void menvcfg_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    const uint64_t mask = ENVCFG_W | RV_ENVCFG_ADUE | RV_ENVCFG_PBMTE | RV_ENVCFG_STCE;
    uint64_t old = h->menvcfg;
    h->menvcfg = envcfg_legal(old, mask, v);
    if ((old ^ h->menvcfg) & (RV_ENVCFG_PBMTE | RV_ENVCFG_ADUE))
        rv_tlb_flush(h);
    if ((old ^ h->menvcfg) & RV_ENVCFG_STCE) {
        h->mip &= ~(UINT64_C(1) << RV_IRQ_STI);
        h->env.stimecmp_changed(h);
    }
}

static void senvcfg_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    h->senvcfg = envcfg_legal(h->senvcfg, ENVCFG_W, v);
}

/* ---- addresses and translation ---- */

/* tvec modes are direct (0) and vectored (1); others keep the former value. */
static void mtvec_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    if ((v & 3) < 2)
        h->mtvec = v;
}

static void stvec_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    if ((v & 3) < 2)
        h->stvec = v;
}

/* A mode that is not there leaves satp as it was (10.1.11). */
static void satp_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    (void)number;
    unsigned mode = (unsigned)(v >> 60);
    if (mode != RV_SATP_BARE && (mode < RV_SATP_SV39 || mode > h->satp_max))
        return;
    if (v == h->satp)
        return;
    h->satp = v;
    rv_context_select(h);
}

static uint64_t misa_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->misa;
}

static uint64_t hartid_read(struct rv_hart *h, unsigned number)
{
    (void)number;
    return h->hartid;
}

/* ---- PMP (3.7.1) ---- */

#define PMP_LOCK 0x80
#define PMP_ADDR_MASK ((UINT64_C(1) << 54) - 1)

static bool pmp_locked(const struct rv_hart *h, unsigned i)
{
    return h->pmpcfg[i] & PMP_LOCK;
}

static uint64_t pmpcfg_read(struct rv_hart *h, unsigned number)
{
    unsigned first = (number - 0x3a0) * 4;
    return first < RV_PMP_COUNT ? le64_get(&h->pmpcfg[first]) : 0;
}

static void pmpcfg_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    unsigned first = (number - 0x3a0) * 4;
    for (unsigned i = 0; i < 8 && first + i < RV_PMP_COUNT; i++) {
        uint8_t cfg = (uint8_t)(v >> (8 * i)) & 0x9f;
        if (!pmp_locked(h, first + i) && (cfg & 3) != 2) /* W without R is reserved */
            h->pmpcfg[first + i] = cfg;
    }
    rv_pmp_changed(h);
    rv_tlb_flush(h);
}

static uint64_t pmpaddr_read(struct rv_hart *h, unsigned number)
{
    unsigned i = number - 0x3b0;
    return i < RV_PMP_COUNT ? h->pmpaddr[i] : 0;
}

/* A locked TOR entry also locks the address below it. */
static void pmpaddr_write(struct rv_hart *h, unsigned number, uint64_t v)
{
    unsigned i = number - 0x3b0;
    if (i >= RV_PMP_COUNT || pmp_locked(h, i))
        return;
    if (i + 1 < RV_PMP_COUNT && pmp_locked(h, i + 1) && (h->pmpcfg[i + 1] >> 3 & 3) == 1)
        return;
    h->pmpaddr[i] = v & PMP_ADDR_MASK;
    rv_pmp_changed(h);
    rv_tlb_flush(h);
}

/* ---- the table ---- */

#define FIELD(m) .field = offsetof(struct rv_hart, m)
#define ALL UINT64_MAX
#define IRQ RV_CSR_CHECK_IRQ
#define EVEN ~UINT64_C(1)
#define PMPCFG .read = pmpcfg_read, .write = pmpcfg_write, .effects = RV_CSR_VIEW
#define CSR(n) .first = (n), .last = (n)
#define CSRS(from, to) .first = (from), .last = (to)

/* In the order of their numbers. */
static const struct csr csr_table[] = {
    /* floating point */
    {CSR(0x001), .read = fflags_read, .write = fflags_write, .allowed = allow_fp},
    {CSR(0x002), .read = frm_read, .write = frm_write, .allowed = allow_fp},
    {CSR(0x003), .read = fcsr_read, .write = fcsr_write, .allowed = allow_fp},
    /* supervisor */
    {CSR(0x100), .read = sstatus_read, .write = sstatus_write, .effects = IRQ | RV_CSR_VIEW},
    {CSR(0x104), .read = sie_read, .write = sie_write, .effects = IRQ},
    {CSR(0x105), FIELD(stvec), .write = stvec_write},
    {CSR(0x106), FIELD(scounteren), .wmask = UINT32_MAX},
    {CSR(0x10a), FIELD(senvcfg), .write = senvcfg_write},
    {CSR(0x140), FIELD(sscratch), .wmask = ALL},
    {CSR(0x141), FIELD(sepc), .wmask = EVEN},
    {CSR(0x142), FIELD(scause), .wmask = ALL},
    {CSR(0x143), FIELD(stval), .wmask = ALL},
    {CSR(0x144), .read = sip_read, .write = sip_write, .effects = IRQ},
    {CSR(0x14d), FIELD(stimecmp), .write = stimecmp_write, .allowed = allow_stimecmp,
     .effects = IRQ},
    {CSR(0x150), .aia = true, .read = iselect_read, .write = iselect_write},
    {CSR(0x151), .aia = true, .access = ireg_access, .effects = IRQ},
    {CSR(0x15c), .aia = true, .access = topei_access, .effects = IRQ},
    {CSR(0x180), FIELD(satp), .write = satp_write, .allowed = allow_satp, .effects = RV_CSR_VIEW},
    /* machine */
    {CSR(0x300), .read = mstatus_read, .write = mstatus_write, .effects = IRQ | RV_CSR_VIEW},
    {CSR(0x301), .read = misa_read, .write = ignore_write},
    {CSR(0x302), FIELD(medeleg), .wmask = 0xb3ff},
    {CSR(0x303), FIELD(mideleg), .wmask = S_IRQS, .effects = IRQ},
    {CSR(0x304), FIELD(mie), .wmask = S_IRQS | M_IRQS, .effects = IRQ},
    {CSR(0x305), FIELD(mtvec), .write = mtvec_write},
    {CSR(0x306), FIELD(mcounteren), .wmask = UINT32_MAX},
    {CSR(0x308), .aia = true, .read = zero_read, .write = ignore_write},
    {CSR(0x309), .aia = true, .read = mvip_read, .write = mip_write, .effects = IRQ},
    {CSR(0x30a), FIELD(menvcfg), .write = menvcfg_write, .effects = IRQ},
    {CSR(0x320), FIELD(mcountinhibit), .write = countinhibit_write},
    {CSRS(0x323, 0x33f), .read = zero_read, .write = ignore_write},
    {CSR(0x340), FIELD(mscratch), .wmask = ALL},
    {CSR(0x341), FIELD(mepc), .wmask = EVEN},
    {CSR(0x342), FIELD(mcause), .wmask = ALL},
    {CSR(0x343), FIELD(mtval), .wmask = ALL},
    {CSR(0x344), .read = mip_read, .write = mip_write, .effects = IRQ},
    {CSR(0x350), .aia = true, .read = iselect_read, .write = iselect_write},
    {CSR(0x351), .aia = true, .access = ireg_access, .effects = IRQ},
    {CSR(0x35c), .aia = true, .access = topei_access, .effects = IRQ},
    {CSR(0x3a0), PMPCFG},
    {CSR(0x3a2), PMPCFG},
    {CSR(0x3a4), PMPCFG},
    {CSR(0x3a6), PMPCFG},
    {CSR(0x3a8), PMPCFG},
    {CSR(0x3aa), PMPCFG},
    {CSR(0x3ac), PMPCFG},
    {CSR(0x3ae), PMPCFG},
    {CSRS(0x3b0, 0x3ef), .read = pmpaddr_read, .write = pmpaddr_write, .effects = RV_CSR_VIEW},
    /* machine counters */
    {CSR(0xb00), .read = cycle_read, .write = cycle_write},
    {CSR(0xb02), .read = instret_read, .write = instret_write},
    {CSRS(0xb03, 0xb1f), .read = zero_read, .write = ignore_write},
    /* unprivileged counters */
    {CSR(0xc00), .read = cycle_read, .allowed = allow_counter},
    {CSR(0xc01), .read = time_read, .allowed = allow_counter},
    {CSR(0xc02), .read = instret_read, .allowed = allow_counter},
    {CSRS(0xc03, 0xc1f), .read = zero_read, .allowed = allow_counter},
    /* supervisor */
    {CSR(0xdb0), .aia = true, .read = topi_read},
    /* machine information */
    {CSRS(0xf11, 0xf13), .read = zero_read},
    {CSR(0xf14), .read = hartid_read},
    {CSR(0xf15), .read = zero_read},
    {CSR(0xfb0), .aia = true, .read = topi_read},
};

/* ---- access ---- */

static uint64_t csr_get(struct rv_hart *h, const struct csr *c, unsigned number)
{
    return c->read ? c->read(h, number) : *csr_field(h, c);
}

static void csr_set(struct rv_hart *h, const struct csr *c, unsigned number, uint64_t v)
{
    if (c->write) {
        c->write(h, number, v);
        return;
    }
    uint64_t *field = csr_field(h, c);
    *field = (*field & ~c->wmask) | (v & c->wmask);
}

static bool csr_read_only(unsigned number)
{
    return number >> 10 == 3;
}

/* NULL: this hart has none of that number. */
static const struct csr *csr_find(const struct rv_hart *h, unsigned number)
{
    size_t low = 0, high = ARRAY_SIZE(csr_table);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (csr_table[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    const struct csr *c = &csr_table[low];
    bool exists = low < ARRAY_SIZE(csr_table) && c->first <= number;
    return exists && (!c->aia || h->env.imsic_reg) ? c : NULL;
}

bool rv_csr_peek(struct rv_hart *h, unsigned number, uint64_t *value)
{
    const struct csr *c = csr_find(h, number);
    if (!c)
        return false;
    if (c->access)
        return c->access(h, number, false, 0, 0, value);
    *value = csr_get(h, c, number);
    return true;
}

/* A counter written from outside is not written by an instruction that has yet to be counted. */
static unsigned poke_counter_bias(const struct rv_hart *h, unsigned number)
{
    return (number == 0xb00 && !(h->mcountinhibit & 1)) ||
           (number == 0xb02 && !(h->mcountinhibit & 4));
}

bool rv_csr_poke(struct rv_hart *h, unsigned number, uint64_t value)
{
    const struct csr *c = csr_find(h, number);
    uint64_t old;
    if (!c || csr_read_only(number))
        return false;
    if (c->access)
        return c->access(h, number, true, UINT64_MAX, value, &old);
    csr_set(h, c, number, value + poke_counter_bias(h, number));
    return true;
}

/*
 * What set and clear start from. For mip this is without the external-interrupt line, so that a
 * read-modify-write does not make the line's level permanent (3.1.9).
 */
static uint64_t csr_rmw_base(struct rv_hart *h, unsigned number, uint64_t value)
{
    return number == 0x344 ? h->mip : value;
}

bool rv_csr_access(struct rv_hart *h, unsigned number, enum rv_csr_op op, bool read, bool write,
                   uint64_t operand, uint64_t *old, unsigned *effects)
{
    const struct csr *c = csr_find(h, number);
    if (!c || h->priv < csr_priv(number) || (write && csr_read_only(number)) ||
        (c->allowed && !c->allowed(h, number)))
        return false;
    if (c->access) {
        *effects = write ? c->effects : 0;
        return c->access(h, number, write,
                         op == RV_CSR_RS   ? 0
                         : op == RV_CSR_RC ? operand
                                           : UINT64_MAX,
                         op == RV_CSR_RC ? 0 : operand, old);
    }
    uint64_t value = read ? csr_get(h, c, number) : 0;
    *old = value;
    *effects = 0;
    if (!write)
        return true;
    if (op == RV_CSR_RS)
        operand = csr_rmw_base(h, number, value) | operand;
    else if (op == RV_CSR_RC)
        operand = csr_rmw_base(h, number, value) & ~operand;
    csr_set(h, c, number, operand);
    *effects = c->effects;
    return true;
}
