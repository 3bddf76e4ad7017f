/* A port of the host that leads to one of the guest behind the NAT. */
#pragma once

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct net_hostfwd {
    bool udp;
    struct in_addr host, guest; /* guest 0: the one whose address comes from DHCP */
    uint16_t host_port, guest_port;
};

/* "tcp:[ADDR:]PORT-[ADDR:]PORT", or udp; the host's address is 127.0.0.1 if none is given. */
int net_hostfwd_parse(const char *text, struct net_hostfwd *out, struct error *err);
