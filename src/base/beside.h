/* Programs of ours that are installed together. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/*
 * Starts the program argv[0]: what the environment variable `variable` says, or else the one beside
 * this program. It has a session of its own, since what is typed at the terminal is not for it,
 * /dev/null as standard input and output, fds[i] as descriptor 3 + i, and no signal blocked. 0 with
 * *pid, or -errno with *pid 0 and *err, which ends with `hint`: what needs the program.
 */
int program_start(const char *variable, const char *const argv[], const int fds[], unsigned count,
                  const char *hint, pid_t *pid, struct error *err);
