#include "nat/confine.h"

#include "sandbox/confine.h"

#include <errno.h>

int nat_confine(struct error *err)
{
    /* Those from which the host's name servers are read, again when they change. */
    static const struct landlock_path readable[] = {{.path = "/etc/resolv.conf"},
                                                    {.path = "/run/systemd/resolve"},
                                                    {.path = "/run/resolvconf"},
                                                    {.path = "/run/NetworkManager"}};
    const struct confine how = {
        .calls = CALLS_NAT,
        .quiet = true, /* libslirp and glib ask for what they can do without */
        .paths = readable,
        .path_count = sizeof readable / sizeof readable[0],
        .net = true,
        .user = CONFINE_NOBODY,
        .group = CONFINE_NOBODY,
    };
    struct confine_report report;
    int rc = confine(&how, &report, err);
    return rc == -ENOSYS ? 0 : rc;
}
