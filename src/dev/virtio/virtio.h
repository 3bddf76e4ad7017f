/*
 * The part of a virtio device (virtio 1.2) that is the same for all of them and for all transports:
 * status, feature negotiation, queues, interrupts, configuration space.
 *
 * A device's private struct begins with `struct virtio_dev`, which begins with `struct device`. Its
 * state table holds `virtio_dev_state` as its first field. A transport is a set of register
 * accessors over struct virtio_dev (virtio_mmio.h, virtio_pci.h) that calls the functions of the
 * second part; a device calls those of the first part. A device does not know its transport: it is
 * made with an interrupt line, and a transport that can do more attaches itself afterwards.
 *
 * What a driver does wrong sets DEVICE_NEEDS_RESET and raises a configuration interrupt; the queues
 * then stand still until the driver resets the device.
 *
 * Locking: everything runs with the device's lock held, which back-end callbacks take themselves.
 */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"
#include "core/irq.h"
#include "dev/virtio/virtq.h"

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_QUEUE_MAX 16u
#define VIRTIO_CONFIG_SIZE 64u

enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};

enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

/* Feature bits of every device (section 6). */
enum {
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
};
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))

struct virtio_dev;

struct virtio_dev_ops {
    uint32_t device_id;   /* section 5 */
    unsigned queue_count; /* up to VIRTIO_QUEUE_MAX; a device may be made with fewer or more */
    uint16_t queue_size;  /* the most entries a queue may have */
    /* The driver has notified a queue that is ready. */
    void (*notify)(struct virtio_dev *vd, unsigned queue);
    /* The device's own power-on values, and on a reset by the driver; may be NULL. */
    void (*reset)(struct virtio_dev *vd);
    /*
     * Comes back when no chain is in flight, before queues are reset or disabled; may give up the
     * lock meanwhile. NULL: the device holds no chains.
     */
    void (*quiesce)(struct virtio_dev *vd);
    /* A write to configuration space; NULL: it is read-only. */
    void (*write_config)(struct virtio_dev *vd, uint64_t offset, unsigned size, uint64_t value);
};

#define VIRTIO_NO_QUEUE UINT32_MAX /* the configuration, where a queue may be named */

/* What a transport does besides giving access to the registers. */
struct virtio_transport {
    /*
     * Sends the interrupt of a queue, or of VIRTIO_NO_QUEUE, as a message. False: messages are off,
     * and the device raises its line.
     */
    bool (*message)(void *ctx, unsigned queue);
    /* The driver has reset the device, or its owner has. */
    void (*reset)(void *ctx);
};

struct virtio_dev {
    struct device dev;
    const struct virtio_dev_ops *ops;
    unsigned queue_count; /* of ops, unless the device has set it when it was made */
    struct addrspace *mem;
    struct irq_line irq;
    const struct virtio_transport *transport; /* NULL: it has only the line */
    void *transport_ctx;
    uint64_t offered;                   /* feature bits */
    uint8_t config[VIRTIO_CONFIG_SIZE]; /* as the driver sees it; made by the device */
    struct virtq_chain *chain;          /* scratch for the service of a queue */

    uint64_t features; /* what the driver has accepted */
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint32_t config_generation;
    uint8_t status;
    uint8_t isr;
    struct virtq queues[VIRTIO_QUEUE_MAX];
};

extern const struct state_table virtio_dev_state;

/* ---- for devices ---- */

/*
 * features: the device's own bits; those that every device has are added. id as in struct device.
 * 0 or -ENOMEM; nothing is left to free on failure.
 */
int virtio_dev_init(struct virtio_dev *vd, const struct device_ops *device_ops,
                    const struct virtio_dev_ops *ops, struct addrspace *mem, struct irq_line irq,
                    uint64_t features, const char *id, struct error *err);
void virtio_dev_fini(struct virtio_dev *vd);

/* device_ops.reset of every virtio device. */
void virtio_dev_reset(struct device *dev);

static inline struct virtio_dev *virtio_dev_of(struct device *dev)
{
    return (struct virtio_dev *)(void *)dev;
}

/* Has the driver accepted this feature? */
bool virtio_dev_has(const struct virtio_dev *vd, unsigned feature);

/* May this queue be served now? */
bool virtio_dev_queue_live(const struct virtio_dev *vd, unsigned queue);

/*
 * virtq_arm and virtq_pop for a live queue; a driver's mistake fails the device and reads as "no
 * more". The chain is vd->chain until the next call.
 */
bool virtio_dev_arm(struct virtio_dev *vd, unsigned queue);
struct virtq_chain *virtio_dev_pop(struct virtio_dev *vd, unsigned queue);

/* Ends a service: interrupts the driver if it wants to hear of what was pushed. */
void virtio_dev_signal(struct virtio_dev *vd, unsigned queue);

/*
 * Interrupts the driver for a queue whatever the ring says, for those who have looked, or, with
 * VIRTIO_NO_QUEUE, because of the configuration.
 */
void virtio_dev_interrupt(struct virtio_dev *vd, unsigned queue);

/* The device has changed its configuration space. */
void virtio_dev_config_changed(struct virtio_dev *vd);

/* The driver has made a mistake. */
void virtio_dev_fail(struct virtio_dev *vd);

/* ---- for transports ---- */

/* To be called before the machine runs; ctx is passed to the transport's functions. */
void virtio_dev_attach(struct virtio_dev *vd, const struct virtio_transport *t, void *ctx);

/* 32 bits of the offered or accepted features; word 0 or 1, others read 0 and ignore writes. */
uint32_t virtio_dev_offered(const struct virtio_dev *vd, uint32_t word);
void virtio_dev_accept(struct virtio_dev *vd, uint32_t word, uint32_t bits);

/* A write to the status register (section 2.1); 0 resets. */
void virtio_dev_set_status(struct virtio_dev *vd, uint8_t value);

/* The selected queue, NULL if there is none of that number. */
struct virtq *virtio_dev_selected(struct virtio_dev *vd);
void virtio_dev_enable_selected(struct virtio_dev *vd, bool enable);

void virtio_dev_notify(struct virtio_dev *vd, uint32_t queue);
void virtio_dev_ack(struct virtio_dev *vd, uint32_t isr);

/* Configuration space; beyond its end reads 0. */
uint64_t virtio_dev_read_config(const struct virtio_dev *vd, uint64_t offset, unsigned size);
void virtio_dev_write_config(struct virtio_dev *vd, uint64_t offset, unsigned size, uint64_t value);
