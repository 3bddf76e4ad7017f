/* The text that describes a network: a back end's name, then options. */
#include "net/hostfwd.h"
#include "net/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET_MTU_MIN 68u /* the least that IPv4 works with */

/* What net_open can make. */
static const struct net_ops *const net_backends[] = {
    &net_none_ops,
    &net_user_ops,
    &net_tap_ops,
    &net_switch_ops,
};

struct net_option {
    const char *name;
    bool takes_value;
    /* NULL: all back ends have it. */
    bool (*applies)(const struct net_ops *ops);
    int (*set)(struct net_config *c, const char *value, struct error *err);
};

static bool option_of_nat(const struct net_ops *ops)
{
    return ops->is_nat;
}

static bool option_of_tap(const struct net_ops *ops)
{
    return ops->needs_ifname;
}

static bool option_of_queues(const struct net_ops *ops)
{
    return ops->active_changed;
}

static int set_mac(struct net_config *c, const char *value, struct error *err)
{
    unsigned b[NET_MAC_SIZE];
    int end = 0;
    if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
               &end) != 6 ||
        value[end] || strlen(value) != 17)
        return error_set(err, EINVAL, "mac: '%s' is not an address such as 52:54:00:12:34:56",
                         value);
    for (unsigned i = 0; i < NET_MAC_SIZE; i++)
        c->mac[i] = (uint8_t)b[i];
    if (c->mac[0] & 1)
        return error_set(err, EINVAL, "mac: %s is the address of a group: the first byte is odd",
                         value);
    c->has_mac = true;
    return 0;
}

static int set_mtu(struct net_config *c, const char *value, struct error *err)
{
    char *end;
    unsigned long mtu = strtoul(value, &end, 10);
    if (*end || mtu < NET_MTU_MIN || mtu > UINT16_MAX)
        return error_set(err, EINVAL, "mtu: '%s' is not a number from %u to 65535", value,
                         NET_MTU_MIN);
    c->mtu = (unsigned)mtu;
    return 0;
}

static int set_queues(struct net_config *c, const char *value, struct error *err)
{
    char *end;
    unsigned long queues = strtoul(value, &end, 10);
    if (*end || !queues || queues > NET_MAX_QUEUES)
        return error_set(err, EINVAL, "queues: '%s' is not a number from 1 to %u", value,
                         NET_MAX_QUEUES);
    c->queues = (unsigned)queues;
    return 0;
}

static int set_pcap(struct net_config *c, const char *value, struct error *err)
{
    (void)err;
    c->pcap = value;
    return 0;
}

static int set_ifname(struct net_config *c, const char *value, struct error *err)
{
    if (strlen(value) > 15)
        return error_set(err, EINVAL, "ifname: '%s' is longer than a device's name can be", value);
    c->ifname = value;
    return 0;
}

static int set_hostfwd(struct net_config *c, const char *value, struct error *err)
{
    struct net_hostfwd parsed;
    if (c->hostfwd_count == NET_MAX_HOSTFWD)
        return error_set(err, EINVAL, "hostfwd: a network takes up to %u", NET_MAX_HOSTFWD);
    c->hostfwd[c->hostfwd_count++] = value;
    return net_hostfwd_parse(value, &parsed, err);
}

static int set_restrict(struct net_config *c, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    c->restricted = true;
    return 0;
}

static int set_host(struct net_config *c, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    c->host = true;
    return 0;
}

static const struct net_option net_options[] = {
    {"mac", true, NULL, set_mac},
    {"mtu", true, NULL, set_mtu},
    {"pcap", true, NULL, set_pcap},
    {"ifname", true, option_of_tap, set_ifname},
    {"queues", true, option_of_queues, set_queues},
    {"hostfwd", true, option_of_nat, set_hostfwd},
    {"restrict", false, option_of_nat, set_restrict},
    {"host", false, option_of_nat, set_host},
};

/* value NULL: there is no '='. */
static int config_option(struct net_config *c, const char *name, const char *value,
                         struct error *err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(net_options); i++) {
        const struct net_option *o = &net_options[i];
        if (strcmp(o->name, name) || (o->applies && !o->applies(c->ops)))
            continue;
        if (o->takes_value ? !value || !*value : value != NULL)
            return error_set(err, EINVAL,
                             o->takes_value ? "'%s' needs a value: %s=..." : "'%s' takes no value",
                             name, name);
        return o->set(c, value, err);
    }
    return error_set(err, EINVAL, "network '%s' has no option '%s'", c->ops->name, name);
}

static int config_backend(struct net_config *c, const char *name, const char *value,
                          struct error *err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(net_backends); i++)
        if (!strcmp(net_backends[i]->name, name))
            c->ops = net_backends[i];
    if (!c->ops)
        return error_set(err, EINVAL,
                         "'%s' is not a network; use none, user, tap,ifname=NAME or switch=PATH",
                         name);
    c->path = value;
    if (c->ops->takes_path ? !value || !*value : value != NULL)
        return error_set(err, EINVAL,
                         c->ops->takes_path ? "network '%s' needs a socket: %s=PATH"
                                            : "network '%s' takes no value",
                         name, name);
    return 0;
}

int net_config_parse(struct net_config *c, const char *spec, struct error *err)
{
    *c = (struct net_config){.text = strdup(spec), .queues = 1};
    if (!c->text)
        return error_set(err, ENOMEM, "out of memory for a network");
    char *rest = c->text;
    int rc = 0;
    while (rest && !rc) {
        char *name = strsep(&rest, ",");
        char *value = strchr(name, '=');
        if (value)
            *value++ = 0;
        rc = c->ops ? config_option(c, name, value, err) : config_backend(c, name, value, err);
    }
    if (!rc && c->ops->needs_ifname && !c->ifname)
        rc = error_set(err, EINVAL, "network '%s' needs a device: %s,ifname=NAME", c->ops->name,
                       c->ops->name);
    return rc;
}

void net_config_fini(struct net_config *c)
{
    free(c->text);
    c->text = NULL;
}

int net_check(const char *spec, struct error *err)
{
    struct net_config c;
    int rc = net_config_parse(&c, spec, err);
    net_config_fini(&c);
    return rc;
}

bool net_reaches_outside(const char *spec)
{
    struct net_config c;
    bool outside = !net_config_parse(&c, spec, NULL) && c.ops->outside;
    net_config_fini(&c);
    return outside;
}
