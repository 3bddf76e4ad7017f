/*
 * virtio network card (virtio 1.2, section 5.1) over a struct net: a pair of queues for each of the
 * network's, and the control queue; check sums and TCP segmentation left to the back end in both
 * directions, mergeable receive buffers, filters for addresses and VLANs.
 *
 * A frame that the back end does not take stays in the driver's queue; one from outside for which
 * the driver has no buffers waits in the back end.
 *
 * Locking: the device's lock, which the back end's callbacks take on the event loop's thread.
 */
#pragma once

#include "core/addrspace.h"
#include "core/irq.h"
#include "net/net.h"

#include <stdbool.h>

/*
 * The back end must outlive the device, which is made and freed on the event loop's thread or while
 * the loop does not run. NULL with *err.
 */
struct device *virtio_net_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              struct net *net, struct error *err);

/* Plugs the card's cable in or pulls it out; it is in at first. Any thread, lock not held. */
void virtio_net_set_link(struct device *dev, bool up);
/* Whether it is in. Any thread, lock not held. */
bool virtio_net_plugged(struct device *dev);

/*
 * Asks the driver to tell the network where it is: the machine has come from another place. Any
 * thread, lock not held.
 */
void virtio_net_announce(struct device *dev);
