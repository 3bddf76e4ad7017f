#include "net/impl.h"

const struct net_ops net_none_ops = {
    .name = "none",
    .size = sizeof(struct net),
};
