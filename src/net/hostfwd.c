#include "net/hostfwd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* [ADDR:]PORT in text[0..len); an address that is not there stays as it is. */
static bool hostfwd_end(const char *text, size_t len, struct in_addr *addr, uint16_t *port)
{
    char buf[32];
    if (len >= sizeof buf)
        return false;
    memcpy(buf, text, len);
    buf[len] = 0;
    char *digits = buf, *colon = strrchr(buf, ':');
    if (colon) {
        *colon = 0;
        digits = colon + 1;
        if (*buf && inet_pton(AF_INET, buf, addr) != 1)
            return false;
    }
    if (!*digits || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 5)
        return false;
    unsigned long n = strtoul(digits, NULL, 10);
    *port = (uint16_t)n;
    return n >= 1 && n <= UINT16_MAX;
}

int net_hostfwd_parse(const char *text, struct net_hostfwd *out, struct error *err)
{
    *out = (struct net_hostfwd){.host.s_addr = htonl(INADDR_LOOPBACK)};
    out->udp = !strncmp(text, "udp:", 4);
    const char *host = text + 4, *dash = strchr(text, '-');
    if ((out->udp || !strncmp(text, "tcp:", 4)) && dash && dash >= host &&
        hostfwd_end(host, (size_t)(dash - host), &out->host, &out->host_port) &&
        hostfwd_end(dash + 1, strlen(dash + 1), &out->guest, &out->guest_port))
        return 0;
    return error_set(err, EINVAL,
                     "hostfwd: '%s' is not tcp:[ADDRESS:]PORT-[ADDRESS:]PORT, as in "
                     "tcp:2222-:22 (or udp:...)",
                     text);
}
