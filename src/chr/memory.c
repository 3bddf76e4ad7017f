#include "chr/memory.h"

#include "chr/impl.h"

/* Output stays in the ring until it is taken: without a descriptor chr.c leaves it there. */
static int chr_memory_open(struct chr *c, const char *arg, struct error *err)
{
    (void)c;
    (void)arg;
    (void)err;
    return 0;
}

const struct chr_ops chr_memory_ops = {
    .name = "memory",
    .size = sizeof(struct chr),
    .open = chr_memory_open,
};

struct chr *chr_memory_new(struct loop *loop, struct error *err)
{
    return chr_new(&chr_memory_ops, NULL, loop, err);
}

bool chr_memory_input(struct chr *c, const void *data, size_t len)
{
    pthread_mutex_lock(&c->lock);
    bool fits = len <= c->in.size - c->in.len;
    if (fits)
        chr_ring_put(&c->in, data, len);
    pthread_mutex_unlock(&c->lock);
    if (fits)
        chr_accept_input(c);
    return fits;
}

size_t chr_memory_take(struct chr *c, void *buf, size_t size)
{
    pthread_mutex_lock(&c->lock);
    size_t n = chr_ring_get(&c->out, buf, size);
    bool tell = n && c->refused;
    pthread_mutex_unlock(&c->lock);
    if (tell)
        loop_job_post(c->loop, &c->out_job);
    return n;
}
