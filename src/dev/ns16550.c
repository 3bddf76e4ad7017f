#include "dev/ns16550.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define FIFO_SIZE 16u

enum {
    REG_DATA = 0, /* RBR, THR; DLL */
    REG_IER = 1,  /* DLM */
    REG_IIR = 2,  /* FCR */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,
};

enum { IER_RDA = 1, IER_THRE = 2, IER_LSR = 4, IER_MSR = 8, IER_MASK = 15 };
enum { IIR_MSR = 0, IIR_NONE = 1, IIR_THRE = 2, IIR_RDA = 4, IIR_LSR = 6, IIR_TIMEOUT = 12 };
enum { IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_MASK = 31 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_DELTAS = 15, MSR_TERI = 4, MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128 };

struct ns16550 {
    struct device dev;
    struct chr *chr;
    struct irq_line irq;

    uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
    uint8_t overrun;      /* LSR_OE */
    uint8_t thre_pending; /* the transmitter interrupt's own flip-flop */
    uint8_t rx[FIFO_SIZE];
    uint8_t rx_count;
    uint8_t tx[FIFO_SIZE];
    uint8_t tx_count;
};

static struct ns16550 *ns16550_of(struct device *dev)
{
    return container_of(dev, struct ns16550, dev);
}

static unsigned ns16550_capacity(const struct ns16550 *u)
{
    return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned ns16550_trigger(const struct ns16550 *u)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* The pending interrupt of highest priority, as IIR shows it without the FIFO bits. */
static uint8_t ns16550_iir(const struct ns16550 *u)
{
    if ((u->ier & IER_LSR) && u->overrun)
        return IIR_LSR;
    if ((u->ier & IER_RDA) && u->rx_count)
        return u->rx_count >= ns16550_trigger(u) ? IIR_RDA : IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MSR) && (u->msr & MSR_DELTAS))
        return IIR_MSR;
    return IIR_NONE;
}

static void ns16550_update_irq(struct ns16550 *u)
{
    irq_set(&u->irq, ns16550_iir(u) != IIR_NONE);
}

static void ns16550_push_rx(struct ns16550 *u, uint8_t byte)
{
    if (u->rx_count >= ns16550_capacity(u))
        u->overrun = 1;
    else
        u->rx[u->rx_count++] = byte;
}

static uint8_t ns16550_pop_rx(struct ns16550 *u)
{
    uint8_t byte = u->rx[0];
    if (u->rx_count) {
        bool was_full = u->rx_count >= ns16550_capacity(u);
        memmove(u->rx, u->rx + 1, --u->rx_count);
        if (was_full && u->chr)
            chr_accept_input(u->chr);
    }
    return byte;
}

/* Gives the back end what waits. */
static void ns16550_drain_tx(struct ns16550 *u)
{
    if (!u->tx_count)
        return;
    size_t taken = u->chr ? chr_write(u->chr, u->tx, u->tx_count) : u->tx_count;
    u->tx_count = (uint8_t)(u->tx_count - taken);
    memmove(u->tx, u->tx + taken, u->tx_count);
    if (!u->tx_count)
        u->thre_pending = 1;
}

static void ns16550_send(struct ns16550 *u, uint8_t byte)
{
    u->thre_pending = 0;
    if (u->mcr & MCR_LOOP) {
        ns16550_push_rx(u, byte);
        u->thre_pending = 1;
        return;
    }
    if (u->tx_count < ns16550_capacity(u))
        u->tx[u->tx_count++] = byte;
    ns16550_drain_tx(u);
}

/*
 * Modem inputs: a terminal that is always there, or in loopback this part's own modem outputs.
 * Sets the delta bits of what changed; RI counts only when it falls.
 */
static void ns16550_update_modem(struct ns16550 *u)
{
    unsigned lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (u->mcr & MCR_LOOP)
        lines = (u->mcr & MCR_RTS ? MSR_CTS : 0u) | (u->mcr & MCR_DTR ? MSR_DSR : 0u) |
                (u->mcr & MCR_OUT1 ? MSR_RI : 0u) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0u);
    unsigned changed = (u->msr ^ lines) >> 4;
    if (lines & MSR_RI)
        changed &= ~(unsigned)MSR_TERI;
    u->msr = (uint8_t)(lines | (u->msr & MSR_DELTAS) | (changed & MSR_DELTAS));
}

static void ns16550_set_fcr(struct ns16550 *u, uint8_t value)
{
    /* Changing the enable bit empties both FIFOs; the other bits count only with it. */
    if ((value ^ u->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (value & FCR_CLEAR_RX && (value | u->fcr) & FCR_ENABLE) {
        u->rx_count = 0;
        if (u->chr)
            chr_accept_input(u->chr);
    }
    if (value & FCR_CLEAR_TX && (value | u->fcr) & FCR_ENABLE && u->tx_count) {
        u->tx_count = 0;
        u->thre_pending = 1;
    }
    u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void ns16550_set_ier(struct ns16550 *u, uint8_t value)
{
    /* Enabling the transmitter interrupt with an empty transmitter asks for it at once. */
    if (value & ~u->ier & IER_THRE && !u->tx_count)
        u->thre_pending = 1;
    u->ier = value & IER_MASK;
}

static void ns16550_set_mcr(struct ns16550 *u, uint8_t value)
{
    bool loop_ends = u->mcr & ~value & MCR_LOOP;
    u->mcr = value & MCR_MASK;
    ns16550_update_modem(u);
    if (loop_ends && u->chr)
        chr_accept_input(u->chr);
}

static uint8_t ns16550_read_iir(struct ns16550 *u)
{
    uint8_t iir = ns16550_iir(u);
    if (iir == IIR_THRE)
        u->thre_pending = 0;
    return iir | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t ns16550_read_lsr(struct ns16550 *u)
{
    unsigned lsr = (u->rx_count ? LSR_DR : 0u) | (u->overrun ? LSR_OE : 0u) |
                   (u->tx_count ? 0u : LSR_THRE | LSR_TEMT);
    u->overrun = 0;
    return (uint8_t)lsr;
}

static uint8_t ns16550_read_msr(struct ns16550 *u)
{
    uint8_t msr = u->msr;
    u->msr &= (uint8_t)~MSR_DELTAS;
    return msr;
}

static uint8_t ns16550_read_reg(struct ns16550 *u, uint64_t reg)
{
    bool dlab = u->lcr & LCR_DLAB;
    switch (reg) {
    case REG_DATA:
        return dlab ? u->dll : ns16550_pop_rx(u);
    case REG_IER:
        return dlab ? u->dlm : u->ier;
    case REG_IIR:
        return ns16550_read_iir(u);
    case REG_LCR:
        return u->lcr;
    case REG_MCR:
        return u->mcr;
    case REG_LSR:
        return ns16550_read_lsr(u);
    case REG_MSR:
        return ns16550_read_msr(u);
    case REG_SCR:
        return u->scr;
    default:
        return 0;
    }
}

static uint64_t ns16550_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct ns16550 *u = ns16550_of(dev);
    (void)size;
    uint8_t value = ns16550_read_reg(u, offset);
    ns16550_update_irq(u);
    return value;
}

static void ns16550_write_reg(struct ns16550 *u, uint64_t reg, uint8_t value)
{
    bool dlab = u->lcr & LCR_DLAB;
    switch (reg) {
    case REG_DATA:
        if (dlab)
            u->dll = value;
        else
            ns16550_send(u, value);
        break;
    case REG_IER:
        if (dlab)
            u->dlm = value;
        else
            ns16550_set_ier(u, value);
        break;
    case REG_IIR:
        ns16550_set_fcr(u, value);
        break;
    case REG_LCR:
        u->lcr = value;
        break;
    case REG_MCR:
        ns16550_set_mcr(u, value);
        break;
    case REG_SCR:
        u->scr = value;
        break;
    }
}

static void ns16550_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct ns16550 *u = ns16550_of(dev);
    (void)size;
    ns16550_write_reg(u, offset, (uint8_t)value);
    ns16550_update_irq(u);
}

const struct mmio_ops ns16550_mmio = {
    .read = ns16550_read,
    .write = ns16550_write,
    .sizes = 1 | 2 | 4 | 8,
};

/* In loopback the receiver is cut off from the line: input waits in the back end. */
static size_t ns16550_can_receive(void *ctx)
{
    struct ns16550 *u = ctx;
    pthread_mutex_lock(&u->dev.lock);
    unsigned capacity = ns16550_capacity(u);
    size_t room = u->mcr & MCR_LOOP || u->rx_count > capacity ? 0 : capacity - u->rx_count;
    pthread_mutex_unlock(&u->dev.lock);
    return room;
}

static void ns16550_receive(void *ctx, const uint8_t *data, size_t len)
{
    struct ns16550 *u = ctx;
    pthread_mutex_lock(&u->dev.lock);
    for (size_t i = 0; i < len; i++)
        ns16550_push_rx(u, data[i]);
    ns16550_update_irq(u);
    pthread_mutex_unlock(&u->dev.lock);
}

static void ns16550_writable(void *ctx)
{
    struct ns16550 *u = ctx;
    pthread_mutex_lock(&u->dev.lock);
    ns16550_drain_tx(u);
    ns16550_update_irq(u);
    pthread_mutex_unlock(&u->dev.lock);
}

static void ns16550_clear(struct ns16550 *u)
{
    u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->dlm = 0;
    u->dll = 1;
    u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    u->overrun = u->thre_pending = 0;
    memset(u->rx, 0, sizeof u->rx);
    memset(u->tx, 0, sizeof u->tx);
    u->rx_count = u->tx_count = 0;
}

static void ns16550_reset(struct device *dev)
{
    struct ns16550 *u = ns16550_of(dev);
    ns16550_clear(u);
    ns16550_update_irq(u);
    if (u->chr)
        chr_accept_input(u->chr);
}

static int ns16550_post_load(void *obj, struct error *err)
{
    struct ns16550 *u = obj;
    if (u->rx_count > FIFO_SIZE || u->tx_count > FIFO_SIZE)
        return error_set(err, EINVAL, "saved serial port holds more than %u bytes", FIFO_SIZE);
    u->ier &= IER_MASK;
    u->mcr &= MCR_MASK;
    u->fcr = u->fcr & FCR_ENABLE ? u->fcr & FCR_KEPT : 0;
    ns16550_update_irq(u);
    if (u->chr)
        chr_accept_input(u->chr);
    if (u->chr && u->tx_count)
        chr_ask_writable(u->chr);
    return 0;
}

static const struct state_field ns16550_fields[] = {
    STATE_FIELD(struct ns16550, ier),
    STATE_FIELD(struct ns16550, fcr),
    STATE_FIELD(struct ns16550, lcr),
    STATE_FIELD(struct ns16550, mcr),
    STATE_FIELD(struct ns16550, msr),
    STATE_FIELD(struct ns16550, scr),
    STATE_FIELD(struct ns16550, dll),
    STATE_FIELD(struct ns16550, dlm),
    STATE_FIELD(struct ns16550, overrun),
    STATE_FIELD(struct ns16550, thre_pending),
    STATE_ARRAY(struct ns16550, rx),
    STATE_FIELD(struct ns16550, rx_count),
    STATE_ARRAY(struct ns16550, tx),
    STATE_FIELD(struct ns16550, tx_count),
    STATE_END,
};

static const struct state_table ns16550_state = {
    .name = "ns16550",
    .version = 1,
    .size = sizeof(struct ns16550),
    .fields = ns16550_fields,
    .post_load = ns16550_post_load,
};

static void ns16550_free(struct device *dev)
{
    struct ns16550 *u = ns16550_of(dev);
    if (u->chr) {
        chr_set_receiver(u->chr, NULL, NULL, NULL);
        chr_set_writable(u->chr, NULL, NULL);
    }
    device_fini(dev);
    free(u);
}

static const struct device_ops ns16550_ops = {
    .name = "ns16550",
    .state = &ns16550_state,
    .reset = ns16550_reset,
    .free = ns16550_free,
};

struct device *ns16550_new(struct chr *chr, struct irq_line irq, struct error *err)
{
    struct ns16550 *u = calloc(1, sizeof *u);
    if (!u) {
        error_set(err, ENOMEM, "out of memory for a serial port");
        return NULL;
    }
    device_init(&u->dev, &ns16550_ops, "serial0");
    u->chr = chr;
    u->irq = irq;
    ns16550_clear(u);
    if (chr) {
        chr_set_receiver(chr, ns16550_can_receive, ns16550_receive, u);
        chr_set_writable(chr, ns16550_writable, u);
    }
    return &u->dev;
}
