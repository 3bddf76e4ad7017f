/*
 * An interrupt line as a value. A device holds lines and sets their level; it never knows which
 * controller is at the other end. Lines are level-triggered: setting the level that a line already
 * has is allowed and does nothing.
 */
#pragma once

#include <stdbool.h>

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
