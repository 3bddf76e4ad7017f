/*
 * Architectural state of a riscv64 hart, and the state transitions that every engine shares:
 * traps, returns from traps, privilege and address-translation modes.
 *
 * Sections named in this layer are those of "The RISC-V Instruction Set Manual, Volume II:
 * Privileged Architecture" (20240411) unless volume I is named.
 *
 * A hart belongs to one thread; the only thing that others touch is *irq_lines. The struct is
 * embedded in or owned by whoever made it and owns nothing itself. It must not be copied: it points
 * into itself.
 */
#pragma once

#include "isa/riscv64/tlb.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum rv_priv { RV_PRIV_U = 0, RV_PRIV_S = 1, RV_PRIV_M = 3 };

/* Exception codes of mcause (3.1.15). */
enum rv_cause {
    RV_CAUSE_FETCH_MISALIGNED = 0,
    RV_CAUSE_FETCH_ACCESS = 1,
    RV_CAUSE_ILLEGAL = 2,
    RV_CAUSE_BREAKPOINT = 3,
    RV_CAUSE_LOAD_MISALIGNED = 4,
    RV_CAUSE_LOAD_ACCESS = 5,
    RV_CAUSE_STORE_MISALIGNED = 6,
    RV_CAUSE_STORE_ACCESS = 7,
    RV_CAUSE_ECALL_U = 8,
    RV_CAUSE_ECALL_S = 9,
    RV_CAUSE_ECALL_M = 11,
    RV_CAUSE_FETCH_PAGE = 12,
    RV_CAUSE_LOAD_PAGE = 13,
    RV_CAUSE_STORE_PAGE = 15,
};

/* Interrupt numbers: bits of mip and mie, and of *irq_lines (3.1.9). */
enum rv_irq {
    RV_IRQ_SSI = 1,
    RV_IRQ_MSI = 3,
    RV_IRQ_STI = 5,
    RV_IRQ_MTI = 7,
    RV_IRQ_SEI = 9,
    RV_IRQ_MEI = 11,
};

#define RV_CAUSE_INTERRUPT (UINT64_C(1) << 63)

/* mstatus (3.1.6). */
#define RV_MSTATUS_SIE (UINT64_C(1) << 1)
#define RV_MSTATUS_MIE (UINT64_C(1) << 3)
#define RV_MSTATUS_SPIE (UINT64_C(1) << 5)
#define RV_MSTATUS_MPIE (UINT64_C(1) << 7)
#define RV_MSTATUS_SPP (UINT64_C(1) << 8)
#define RV_MSTATUS_VS (UINT64_C(3) << 9)
#define RV_MSTATUS_MPP_SHIFT 11
#define RV_MSTATUS_MPP (UINT64_C(3) << 11)
#define RV_MSTATUS_FS (UINT64_C(3) << 13)
#define RV_MSTATUS_XS (UINT64_C(3) << 15)
#define RV_MSTATUS_MPRV (UINT64_C(1) << 17)
#define RV_MSTATUS_SUM (UINT64_C(1) << 18)
#define RV_MSTATUS_MXR (UINT64_C(1) << 19)
#define RV_MSTATUS_TVM (UINT64_C(1) << 20)
#define RV_MSTATUS_TW (UINT64_C(1) << 21)
#define RV_MSTATUS_TSR (UINT64_C(1) << 22)
#define RV_MSTATUS_UXL (UINT64_C(2) << 32)
#define RV_MSTATUS_SXL (UINT64_C(2) << 34)
#define RV_MSTATUS_SD (UINT64_C(1) << 63)

/* menvcfg and senvcfg (3.1.18). */
#define RV_ENVCFG_FIOM (UINT64_C(1) << 0)
#define RV_ENVCFG_CBIE (UINT64_C(3) << 4)
#define RV_ENVCFG_CBCFE (UINT64_C(1) << 6)
#define RV_ENVCFG_CBZE (UINT64_C(1) << 7)
#define RV_ENVCFG_ADUE (UINT64_C(1) << 61)
#define RV_ENVCFG_PBMTE (UINT64_C(1) << 62)
#define RV_ENVCFG_STCE (UINT64_C(1) << 63)

/* satp (10.1.11). All 16 bits of the ASID are there. */
#define RV_SATP_ASID_SHIFT 44
#define RV_SATP_ASID_BITS 16
enum { RV_SATP_BARE = 0, RV_SATP_SV39 = 8, RV_SATP_SV48 = 9, RV_SATP_SV57 = 10 };

/*
 * Views of memory that have translations of their own: which privilege looks, and in S-mode
 * whether mstatus.SUM lets it see user pages.
 */
enum rv_view { RV_VIEW_U, RV_VIEW_S, RV_VIEW_S_SUM, RV_VIEW_M, RV_VIEWS };

/* miselect and siselect hold the numbers that the Advanced Interrupt Architecture assigns. */
#define RV_ISELECT_MASK UINT64_C(0xff)

#define RV_PMP_COUNT 16
#define RV_PAGE UINT64_C(4096)
#define RV_CBO_BLOCK 64 /* bytes of a cache block for Zicbom and Zicboz */

struct rv_hart;

/*
 * A file in a process's memory at [start, end), known by its contents: mapped such that its first
 * byte would be at base. Whoever uses it compares the bytes themselves.
 */
struct rv_image {
    uint64_t start, end, base;
    uint64_t hash[2], size; /* of the file's first page; bytes of the file */
};

/* What a hart needs from the machine or process around it. `ctx` is passed back. */
struct rv_hart_env {
    uint64_t (*time)(void *ctx);                 /* the time CSR */
    void (*stimecmp_changed)(struct rv_hart *h); /* stimecmp or its enable changed */
    /* Naturally aligned physical reads of page-table entries; false: bus error. */
    bool (*pte_read)(void *ctx, uint64_t gpa, uint64_t *pte);
    /* Atomically replaces old by new; false with *bus_error or because it was not old any more. */
    bool (*pte_swap)(void *ctx, uint64_t gpa, uint64_t old, uint64_t new, bool *bus_error);
    void *ctx;
    /*
     * Of a hart with an IMSIC, whose file of level `priv` (RV_PRIV_M or _S) this is; NULL: it has
     * none, and no CSRs of the Advanced Interrupt Architecture. A register that *iselect names:
     * its old value, then the bits of `clear` are cleared and those of `set` set, at once; false:
     * there is none. The value of *topei; claim: its interrupt is pending no more.
     */
    bool (*imsic_reg)(void *ctx, unsigned priv, unsigned select, uint64_t clear, uint64_t set,
                      uint64_t *old);
    uint64_t (*imsic_top)(void *ctx, unsigned priv, bool claim);
    /* Of a process: whether it may execute at va, which is then there. */
    bool (*executable)(void *ctx, uint64_t va);
    /* Of a process: the image that va is of. False: of none. NULL: there are none. */
    bool (*image)(void *ctx, uint64_t va, struct rv_image *out);
};

struct rv_hart {
    uint64_t x[33]; /* x[32] takes what engines write to x0; x[0] stays 0 */
    uint64_t pc;
    uint64_t icount; /* instructions retired since power-on; engines may hold it in a register */
    uint8_t view;    /* of data accesses (enum rv_view), kept by rv_hart_view_changed */
    uint8_t fetch_view;
    uint8_t priv;
    uint8_t fflags, frm; /* fcsr */
    uint64_t f[32];

    /*
     * LR/SC reservation: of what address and size (rv_reserve_key), RV_TLB_INVALID when none, and
     * what was read. By virtual address: whatever changes translations ends it.
     */
    uint64_t reserve_key, reserve_value;

    uint64_t mstatus, misa, medeleg, mideleg, mie, mip; /* mip: software-writable bits only */
    uint64_t mtvec, mscratch, mepc, mcause, mtval;
    uint64_t mcounteren, mcountinhibit, menvcfg;
    uint64_t stvec, sscratch, sepc, scause, stval;
    uint64_t scounteren, senvcfg, satp, stimecmp;
    uint64_t miselect, siselect;             /* with an IMSIC */
    uint64_t mcycle_offset, minstret_offset; /* added to icount */
    uint64_t pmpaddr[RV_PMP_COUNT];
    uint8_t pmpcfg[RV_PMP_COUNT];
    uint8_t pmp_used; /* number of entries up to the last that is not off */

    uint64_t code_epoch; /* changes when fetched code may be stale (fence.i) */

    /* Fixed when the hart is made. */
    uint64_t hartid;
    uint64_t exts;    /* enabled instruction extensions, mask of enum rv_ext */
    uint8_t satp_max; /* RV_SATP_SV39, _SV48 or _SV57: the largest mode satp takes */
    uint8_t sbi;      /* guise itself is the M-mode: calls from S-mode leave the engine */
    uint8_t process;  /* the hart is a process's: U-mode only, memory is this process's own, calls
                         and  exceptions leave the engine */
    struct rv_hart_env env;
    _Atomic uint64_t *irq_lines; /* interrupt inputs; the owner's */

    uint64_t tlb_epoch;  /* the last epoch given to a fetch TLB */
    uint64_t engine[16]; /* the engine's own words, next to the rest for generated code */

    /* The TLBs of view and fetch_view in the current context; kept by rv_hart_view_changed. */
    struct rv_tlb *tlb;
    struct rv_fetch_tlb *fetch;
    uint64_t mem_base; /* for generated code: the address of *tlb, or the context's window; 0: a
                          process */

    /* The engine's: something of a context that has a window is to be dropped. NULL: none. */
    void (*fenced)(struct rv_hart *h, unsigned context, const struct rv_fence *f);
    void *fenced_ctx;

    uint8_t context; /* the current one, of satp */
    uint64_t context_clock;
    struct rv_tlb tlb_s, tlb_m;
    struct rv_fetch_tlb fetch_s, fetch_m;
    struct rv_context contexts[RV_CONTEXTS];
};

/* Of an aligned access; an address that is not aligned, or of the other size, has no equal. */
#define RV_RESERVE_W (UINT64_C(1) << 62)
#define RV_RESERVE_D (UINT64_C(1) << 61)
static inline uint64_t rv_reserve_key(uint64_t va, unsigned size)
{
    return va ^ (size == 8 ? RV_RESERVE_D : RV_RESERVE_W);
}

extern const struct state_table rv_hart_state;

/* Power-on values (3.4); keeps what is fixed, env and irq_lines. */
void rv_hart_reset(struct rv_hart *h, uint64_t pc);

/* The parts of mstatus that are computed: SD and the fixed XLEN fields. */
uint64_t rv_mstatus(const struct rv_hart *h);

/* mip with the lines included (3.1.9). */
uint64_t rv_mip(const struct rv_hart *h);

/* Number of the interrupt to take now, or -1: pending, enabled, by priority (3.1.9). */
int rv_interrupt_pending(const struct rv_hart *h);

/* Which of these, a mask of interrupts for one privilege mode, goes first; -1: it is empty. */
int rv_interrupt_first(uint64_t pending);

/* True if wfi has nothing to wait for: something is pending and individually enabled (3.3.3). */
bool rv_wfi_done(const struct rv_hart *h);

/* Enters the handler; h->pc is the pc of the instruction that trapped or did not run (3.1.6). */
void rv_trap_exception(struct rv_hart *h, enum rv_cause cause, uint64_t tval);
void rv_trap_interrupt(struct rv_hart *h, unsigned irq);

/* mret and sret (3.3.2). False when the current mode may not: illegal instruction. */
bool rv_mret(struct rv_hart *h);
bool rv_sret(struct rv_hart *h);

/* To be called after priv, mstatus.MPRV, MPP or SUM, or the context have changed. */
void rv_hart_view_changed(struct rv_hart *h);

/* Drops what the engine derived from instruction memory (fence.i). */
void rv_fence_i(struct rv_hart *h);
