#include "core/device.h"

#include <stdarg.h>
#include <stdio.h>

void device_init(struct device *dev, const struct device_ops *ops, const char *id_fmt, ...)
{
    va_list ap;
    va_start(ap, id_fmt);
    vsnprintf(dev->id, sizeof dev->id, id_fmt, ap);
    va_end(ap);
    dev->ops = ops;
    pthread_mutex_init(&dev->lock, NULL);
}

void device_fini(struct device *dev)
{
    pthread_mutex_destroy(&dev->lock);
}

void device_reset(struct device *dev)
{
    pthread_mutex_lock(&dev->lock);
    dev->ops->reset(dev);
    pthread_mutex_unlock(&dev->lock);
}

int device_start(struct device *dev, struct error *err)
{
    if (!dev->ops->start)
        return 0;
    pthread_mutex_lock(&dev->lock);
    int rc = dev->ops->start(dev, err);
    pthread_mutex_unlock(&dev->lock);
    return rc;
}

/* Lock held. */
static void device_settle(struct device *dev)
{
    if (dev->ops->drain)
        dev->ops->drain(dev);
}

void device_drain(struct device *dev)
{
    pthread_mutex_lock(&dev->lock);
    device_settle(dev);
    pthread_mutex_unlock(&dev->lock);
}

void device_save(struct device *dev, struct state_out *out)
{
    pthread_mutex_lock(&dev->lock);
    device_settle(dev);
    state_save(out, dev->ops->state, dev);
    pthread_mutex_unlock(&dev->lock);
}

int device_load(struct device *dev, struct state_in *in, struct error *err)
{
    pthread_mutex_lock(&dev->lock);
    device_settle(dev);
    int rc = state_load(in, dev->ops->state, dev, err);
    if (rc)
        dev->ops->reset(dev);
    pthread_mutex_unlock(&dev->lock);
    if (rc && err)
        error_prefix(err, "%s", dev->id);
    return rc;
}

uint64_t device_hash(struct device *dev, uint64_t seed)
{
    pthread_mutex_lock(&dev->lock);
    device_settle(dev);
    uint64_t hash = state_hash(seed, dev->ops->state, dev);
    pthread_mutex_unlock(&dev->lock);
    return hash;
}

void device_free(struct device *dev)
{
    if (dev)
        dev->ops->free(dev);
}
