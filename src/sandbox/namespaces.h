/* A process's own views of the system's files, networks and names. */
#pragma once

#include <stdbool.h>

/*
 * Puts the process, which must have one thread, on a network without interfaces, and to a file
 * system that is one empty directory; what is open stays so. `user`: first into a user namespace,
 * so that no privileges are needed. 0, or -errno if the host does not allow it; then some of it may
 * have been done.
 */
int namespaces_enter(bool user);
