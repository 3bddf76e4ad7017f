#include "client.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIQUE UINT64_C(0x1122334455667788)

void client_open(struct client *c, int root, bool readonly, uint32_t max_descriptors)
{
    const struct fs_config config = {
        .root = root, .readonly = readonly, .max_descriptors = max_descriptors};
    if (chdir("/proc/self/fd") || !(c->fs = fs_new(&config, NULL)))
        abort();
}

void client_close(struct client *c)
{
    fs_free(c->fs);
}

/* Cuts a buffer into pieces of which some end within a header. */
static unsigned cut(struct iovec *iov, uint8_t *data, size_t len, bool split)
{
    unsigned n = 0;
    for (size_t at = 0; at < len; n++) {
        size_t piece = split && n < 40 ? 1 + n % 7 : len - at;
        piece = piece < len - at ? piece : len - at;
        iov[n] = (struct iovec){data + at, piece};
        at += piece;
    }
    return n;
}

uint32_t client_raw(struct client *c, const void *data, size_t len, size_t room, bool split)
{
    struct virtq_chain *q = &c->chain;
    memcpy(c->in, data, len);
    memset(c->out, 0, sizeof(struct fuse_out_header));
    q->readable = q->iov;
    q->readable_count = cut(q->iov, c->in, len, split);
    q->writable = q->iov + q->readable_count;
    q->writable_count = cut(q->writable, c->out, room, split);
    q->readable_bytes = len;
    q->writable_bytes = room;
    uint32_t written = fs_request(c->fs, q, c->scratch);
    if (written > room)
        abort();
    return written;
}

int client_call(struct client *c, uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
                const char *first, const char *second)
{
    static const char zero;
    uint8_t request[20000];
    struct fuse_in_header head = {.opcode = opcode, .unique = UNIQUE, .nodeid = node};
    struct fuse_out_header out;
    size_t len = sizeof head;
    memcpy(request + len, arg ? arg : &zero, arg_len);
    len += arg_len;
    for (unsigned i = 0; i < 2; i++) {
        const char *text = i ? second : first;
        size_t size = text ? strlen(text) + 1 : 0;
        memcpy(request + len, text ? text : &zero, size);
        len += size;
    }
    head.len = (uint32_t)len;
    memcpy(request, &head, sizeof head);
    uint32_t written = client_raw(c, request, len, sizeof c->out, opcode % 2);
    memcpy(&out, c->out, sizeof out);
    if (written < sizeof out || out.len != written || out.unique != UNIQUE || out.error > 0)
        abort();
    c->answer_len = written - sizeof out;
    return out.error;
}

uint64_t client_lookup(struct client *c, uint64_t dir, const char *name, int *rc)
{
    struct fuse_entry_out entry = {0};
    int error = client_call(c, FUSE_LOOKUP, dir, NULL, 0, name, NULL);
    if (!error)
        memcpy(&entry, client_answer(c), sizeof entry);
    if (rc)
        *rc = error;
    return entry.nodeid;
}

int client_read_file(struct client *c, uint64_t node, void *data, uint32_t size)
{
    struct fuse_open_in open_in = {.flags = O_RDONLY};
    struct fuse_open_out opened;
    int rc = client_call(c, FUSE_OPEN, node, &open_in, sizeof open_in, NULL, NULL);
    if (rc)
        return rc;
    memcpy(&opened, client_answer(c), sizeof opened);
    struct fuse_read_in read_in = {.fh = opened.fh, .size = size};
    rc = client_call(c, FUSE_READ, node, &read_in, sizeof read_in, NULL, NULL);
    if (!rc) {
        rc = (int)c->answer_len;
        memcpy(data, client_answer(c), c->answer_len);
    }
    struct fuse_release_in release = {.fh = opened.fh};
    client_call(c, FUSE_RELEASE, node, &release, sizeof release, NULL, NULL);
    return rc;
}
