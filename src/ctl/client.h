/* The other end of the control socket: what `guise ctl` and `guise ps` do. */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* -ECONNREFUSED or -ENOENT with *err: no machine is there. */
int ctl_connect(const char *path, struct error *err);

/*
 * Asks and waits, not for ever. `args` may be NULL; it is not taken over. *result is a new
 * reference. -EREMOTEIO with the machine's sentence if it refuses.
 */
int ctl_call(int fd, const char *command, json_t *args, json_t **result, struct error *err);
