/*
 * Takes from this process all that a NAT does not need: other programs, files, local sockets,
 * privileges.
 */
#pragma once

#include "base/error.h"

/*
 * Each measure that the host's kernel does not have is left out, as are those that are already in
 * force. Sockets that are open stay usable. 0, or -errno with a sentence if a measure that exists
 * has failed.
 */
int nat_confine(struct error *err);
