/*
 * Stream sockets of this host that have a name in the file system. All descriptors are non-blocking
 * and closed on exec.
 */
#pragma once

#include "base/error.h"

#include <sys/stat.h>
#include <sys/un.h>

/* Bytes that a name may have. */
#define LOCAL_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

/* Connects to the socket at `path`: a descriptor or -errno. ENAMETOOLONG: see above. */
int local_connect(const char *path);

/*
 * Listens at `path`, for this user only; *what says what is there then. A socket that nobody
 * listens at is replaced. A descriptor, or -errno with *err: EADDRINUSE when somebody listens
 * there.
 */
int local_listen(const char *path, struct stat *what, struct error *err);

/* Removes what is at `path` if it is still `what`. */
void local_release(const char *path, const struct stat *what);
