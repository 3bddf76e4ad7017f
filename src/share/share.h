/*
 * A folder of the host that a guest may mount. What serves it is a process of its own: guise-fs
 * (src/fsd), which is started here and sees nothing but the folder, or any daemon that listens at a
 * Unix socket. Either speaks vhost-user; the device is dev/virtio/virtio_fs.h.
 *
 * Threads: one at a time.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define SHARE_TAG_MAX 36u

struct share;

/*
 * The text is DIR, or socket=PATH, and options behind it: ",tag=NAME" by which the guest mounts it
 * (`share`, then `share1` and so on by `index` if it is not given); for a folder ",readonly" and
 * ",owner=UID[:GID]", whose the files seem to be in the guest. NULL with *err.
 */
struct share *share_open(const char *spec, unsigned index, struct error *err);
/* Ends the process. NULL is allowed. */
void share_free(struct share *s);

/* The same checks for the text only. For option parsing. */
int share_check(const char *spec, struct error *err);

const char *share_tag(const struct share *s);
/* The socket, which becomes the caller's; once. */
int share_take_socket(struct share *s);
/* The folder, or the socket's path. */
const char *share_path(const struct share *s);
