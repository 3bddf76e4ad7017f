/* Programs that are root over nothing but namespaces of their own. */
#pragma once

#include "base/error.h"

/*
 * Runs a program with its arguments and this process's environment as root of a new user namespace
 * and a mount namespace, and waits for it. Root there is the caller. Of the other users there are,
 * for root, all, as they are; for others, those that /etc/subuid gives them: the program newuidmap
 * is needed. Returns its exit code (128 and the signal when it was killed), or -errno with a
 * sentence.
 */
int userns_run(const char *const argv[], struct error *err);
