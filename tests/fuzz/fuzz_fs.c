/*
 * A hostile guest of a shared folder: requests of any kind and content, with numbers of nodes and
 * handles that exist, in buffers cut anywhere. Whatever it does stays in the folder: what is beside
 * it must not change, and what it says must not come out.
 *
 * An input is a list of requests: opcode, node, number of a handle, how many bytes of argument and
 * what is to be in them, and which name. The folder is the same for all inputs, and is emptied now
 * and then; it may hold anything by then, which is as well.
 */
#include "client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "what no guest may see: 8f31c0d5"
enum { STEP = 8 };

static const char *const names[] = {"a",    "b",        "dir",    "link", "up",     "file",
                                    "..",   ".",        "",       "a/b",  "secret", "new",
                                    "fifo", "user.key", "../new", "dir/x"};

static char scratch[200];

static void put(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        abort();
    close(fd);
}

static void check_secret(int top)
{
    char buf[100] = "";
    int fd = openat(top, "secret", O_RDONLY);
    if (read(fd, buf, sizeof buf - 1) < 0 || strcmp(buf, SECRET))
        abort();
    close(fd);
    if (!faccessat(top, "new", F_OK, 0))
        abort();
}

/* A request is a step's bytes, and those of the input behind it as its argument. */
static void request(struct client *c, const uint8_t *step, size_t left)
{
    struct fuse_in_header head = {.opcode = step[0] % 56, .unique = 1, .nodeid = step[1] % 24};
    uint8_t bytes[400] = {0};
    size_t len = sizeof head, arg = step[3] % 128;
    memcpy(bytes + len, step + STEP, arg < left ? arg : left);
    /* Handles and nodes are in the first words. */
    uint64_t small = step[2] % 16;
    if (step[4] & 1)
        memcpy(bytes + len, &small, sizeof small);
    if (step[4] & 2)
        memset(bytes + len + 16, 0, arg > 24 ? arg - 16 : 0);
    len += arg;
    for (unsigned i = 0; i < (step[5] & 3u); i++) {
        const char *name = names[step[6 + i % 2] % 16];
        size_t n = strlen(name) + 1;
        memcpy(bytes + len, name, n);
        len += n;
    }
    head.len = (uint32_t)len;
    memcpy(bytes, &head, sizeof head);
    size_t room = step[5] & 4 ? sizeof c->out : step[7] * 2u;
    size_t send = step[5] & 8 ? step[7] % (len + 1) : len;
    uint32_t n = client_raw(c, bytes, send, room, step[5] & 16);
    if (n && memmem(c->out, n, SECRET, sizeof SECRET - 1))
        abort();
}

static void make_folder(int top)
{
    char command[500];
    snprintf(command, sizeof command, "chmod -R u+rwx '%s/folder'; rm -rf '%s/folder'", scratch,
             scratch);
    if (system(command) || mkdirat(top, "folder", 0755) || mkdirat(top, "folder/dir", 0755) ||
        symlinkat("../secret", top, "folder/link") || symlinkat("..", top, "folder/up") ||
        mkfifoat(top, "folder/fifo", 0644))
        abort();
    put(top, "folder/file", "public");
}

static void remove_scratch(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    (void)!system(command);
}

static int make_top(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%.150s/guise-fuzz-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(scratch))
        abort();
    atexit(remove_scratch);
    int top = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(top, "secret", SECRET);
    if (mkdirat(top, "folder", 0755))
        abort();
    return top;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int top = -1;
    static unsigned runs;
    static struct client client;
    if (top < 0)
        top = make_top();
    if (runs++ % 500 == 0)
        make_folder(top);
    int folder = openat(top, "folder", O_PATH | O_DIRECTORY | O_CLOEXEC);
    client_open(&client, folder, false, 300);
    for (unsigned i = 0; i < 16; i++)
        client_lookup(&client, FUSE_ROOT_ID, names[i], NULL);
    for (; size >= STEP; data += STEP, size -= STEP)
        request(&client, data, size - STEP);
    client_close(&client);
    check_secret(top);
    close(folder);
    return 0;
}
