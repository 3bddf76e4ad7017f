#include "chr/impl.h"

static int chr_none_open(struct chr *c, const char *arg, struct error *err)
{
    (void)arg;
    (void)err;
    c->discard = true;
    return 0;
}

const struct chr_ops chr_none_ops = {
    .name = "none",
    .size = sizeof(struct chr),
    .open = chr_none_open,
};
