/*
 * An interrupt line as a value. A device holds lines and sets their level; it never knows which
 * controller is at the other end. Lines are level-triggered: setting the level that a line already
 * has is allowed and does nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct irq_line {
    /* Called from any thread; may take the controller's lock but never a device's. */
    void (*set)(void *ctx, unsigned number, bool level);
    void *ctx;
    unsigned number;
};

/* A line with set == NULL is not connected: setting it does nothing. */
static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->set)
        line->set(line->ctx, line->number, level);
}

/*
 * Where messages that are interrupts go: a device writes `data`, 32 bits, to a guest-physical
 * address that software has given it. Like a line, a value; what lies at no interrupt controller's
 * address is dropped or lands in RAM, never in another device's registers.
 */
struct msi_sink {
    /* Called from any thread; may take the controller's lock but never a device's. */
    void (*send)(void *ctx, uint64_t address, uint32_t data);
    void *ctx;
};

/* A sink with send == NULL is not connected. */
static inline void msi_send(const struct msi_sink *sink, uint64_t address, uint32_t data)
{
    if (sink->send)
        sink->send(sink->ctx, address, data);
}
