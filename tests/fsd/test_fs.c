/*
 * Requests that no guest's kernel makes, and folders that change while they are looked at: nothing
 * outside the folder is reached, and what is refused is refused.
 */
#include "../dev/test.h"

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOT FUSE_ROOT_ID
#define MANY 600

struct world {
    char path[200];
    int top, folder; /* the folder is inside top; beside it is what must not be reached */
    struct client client;
};

static void put(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static bool holds(int dir, const char *name, const char *text)
{
    char buf[100] = "";
    int fd = openat(dir, name, O_RDONLY);
    bool same = fd >= 0 && read(fd, buf, sizeof buf - 1) >= 0 && !strcmp(buf, text);
    close(fd);
    return same;
}

static void world_open(struct world *w, bool readonly, uint32_t descriptors)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(w->path, sizeof w->path, "%.150s/guise-fsd-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w->path));
    w->top = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(w->top, "folder", 0755), 0);
    assert_int_equal(mkdirat(w->top, "outside", 0755), 0);
    put(w->top, "secret", "secret");
    put(w->top, "outside/secret", "secret");
    w->folder = openat(w->top, "folder", O_PATH | O_CLOEXEC);
    put(w->folder, "file", "public");
    assert_int_equal(mkdirat(w->folder, "dir", 0755), 0);
    put(w->folder, "dir/secret", "public");
    assert_int_equal(symlinkat("../secret", w->folder, "link"), 0);
    assert_int_equal(symlinkat("../outside", w->folder, "dirlink"), 0);
    assert_int_equal(symlinkat("../made", w->folder, "dangling"), 0);
    client_open(&w->client, w->folder, readonly, descriptors);
}

static void world_close(struct world *w)
{
    char command[300];
    assert_true(holds(w->top, "secret", "secret"));
    assert_true(holds(w->top, "outside/secret", "secret"));
    assert_int_equal(faccessat(w->top, "made", F_OK, 0), -1);
    client_close(&w->client);
    close(w->folder);
    close(w->top);
    snprintf(command, sizeof command, "rm -rf '%s'", w->path);
    assert_int_equal(system(command), 0);
    free(w);
}

static struct world *world_new(bool readonly, uint32_t descriptors)
{
    struct world *w = calloc(1, sizeof *w);
    world_open(w, readonly, descriptors);
    return w;
}

static int create(struct client *c, uint64_t dir, const char *name, uint32_t flags, uint32_t mode)
{
    struct fuse_create_in in = {.flags = flags, .mode = mode};
    return client_call(c, FUSE_CREATE, dir, &in, sizeof in, name, NULL);
}

static void test_names(void **state)
{
    static const char *const wrong[] = {"",    ".",         "..",         "/",
                                        "a/b", "../secret", "dir/secret", "/etc"};
    struct world *w = world_new(false, 4096);
    struct client *c = &w->client;
    struct fuse_mkdir_in mkdir_in = {.mode = 0755};
    struct fuse_rename_in rename_in = {.newdir = ROOT};
    struct fuse_link_in link_in = {.oldnodeid = client_lookup(c, ROOT, "file", NULL)};
    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *n = wrong[i];
        assert_int_equal(client_call(c, FUSE_LOOKUP, ROOT, NULL, 0, n, NULL), -EINVAL);
        assert_int_equal(create(c, ROOT, n, O_RDWR, 0644), -EINVAL);
        assert_int_equal(client_call(c, FUSE_UNLINK, ROOT, NULL, 0, n, NULL), -EINVAL);
        assert_int_equal(client_call(c, FUSE_RMDIR, ROOT, NULL, 0, n, NULL), -EINVAL);
        assert_int_equal(client_call(c, FUSE_SYMLINK, ROOT, NULL, 0, n, "x"), -EINVAL);
        assert_int_equal(client_call(c, FUSE_MKDIR, ROOT, &mkdir_in, sizeof mkdir_in, n, NULL),
                         -EINVAL);
        assert_int_equal(client_call(c, FUSE_RENAME, ROOT, &rename_in, sizeof rename_in, "file", n),
                         -EINVAL);
        assert_int_equal(client_call(c, FUSE_RENAME, ROOT, &rename_in, sizeof rename_in, n, "new"),
                         -EINVAL);
        assert_int_equal(client_call(c, FUSE_LINK, ROOT, &link_in, sizeof link_in, n, NULL),
                         -EINVAL);
    }
    /* No end of the string, and a second one that is missing. */
    assert_int_equal(client_call(c, FUSE_LOOKUP, ROOT, "file", 4, NULL, NULL), -EINVAL);
    assert_int_equal(client_call(c, FUSE_RENAME, ROOT, &rename_in, sizeof rename_in, "file", NULL),
                     -EINVAL);
    world_close(w);
}

static void test_links(void **state)
{
    struct world *w = world_new(false, 4096);
    struct client *c = &w->client;
    char buf[100];
    struct stat st;
    uint64_t link = client_lookup(c, ROOT, "link", NULL);
    uint64_t dirlink = client_lookup(c, ROOT, "dirlink", NULL);
    struct fuse_open_in open_in = {.flags = O_RDWR | O_TRUNC};
    struct fuse_setattr_in set = {.valid = FATTR_SIZE};
    struct fuse_link_in link_in = {.oldnodeid = link};
    int rc;
    (void)state;
    assert_true(link && dirlink);
    assert_int_equal(client_read_file(c, link, buf, sizeof buf), -ELOOP);
    assert_int_equal(client_call(c, FUSE_OPEN, link, &open_in, sizeof open_in, NULL, NULL), -ELOOP);
    assert_int_equal(client_call(c, FUSE_OPENDIR, dirlink, &open_in, sizeof open_in, NULL, NULL),
                     -ENOTDIR);
    client_lookup(c, dirlink, "secret", &rc);
    assert_int_equal(rc, -ENOTDIR);
    assert_int_equal(create(c, dirlink, "made", O_RDWR, 0644), -ENOTDIR);
    assert_int_equal(create(c, ROOT, "dangling", O_RDWR, 0644), -ELOOP);
    assert_int_equal(create(c, ROOT, "link", O_RDWR | O_TRUNC, 0644), -ELOOP);
    assert_int_equal(client_call(c, FUSE_SETATTR, link, &set, sizeof set, NULL, NULL), -ELOOP);
    set = (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0777};
    assert_int_equal(client_call(c, FUSE_SETATTR, link, &set, sizeof set, NULL, NULL), -EOPNOTSUPP);
    set = (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 1};
    assert_int_equal(client_call(c, FUSE_SETATTR, link, &set, sizeof set, NULL, NULL), 0);
    assert_int_equal(fstatat(w->top, "secret", &st, 0), 0);
    assert_int_not_equal(st.st_mtime, 1);
    /* A hard link is one to the link. */
    assert_int_equal(client_call(c, FUSE_LINK, ROOT, &link_in, sizeof link_in, "hard", NULL), 0);
    assert_int_equal(fstatat(w->folder, "hard", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISLNK(st.st_mode));
    world_close(w);
}

static void test_special(void **state)
{
    struct world *w = world_new(false, 4096);
    struct client *c = &w->client;
    char buf[10];
    struct stat st;
    (void)state;
    assert_int_equal(mkfifoat(w->folder, "fifo", 0666), 0);
    uint64_t fifo = client_lookup(c, ROOT, "fifo", NULL);
    assert_int_equal(client_read_file(c, fifo, buf, sizeof buf), -ENXIO);
    assert_int_equal(create(c, ROOT, "fifo", O_RDWR, 0644), -EEXIST);
    struct fuse_mknod_in node = {.mode = S_IFCHR | 0666, .rdev = 0x103};
    assert_int_equal(client_call(c, FUSE_MKNOD, ROOT, &node, sizeof node, "null", NULL), -EPERM);
    node = (struct fuse_mknod_in){.mode = S_IFBLK | 0666, .rdev = 0x800};
    assert_int_equal(client_call(c, FUSE_MKNOD, ROOT, &node, sizeof node, "sda", NULL), -EPERM);
    node = (struct fuse_mknod_in){.mode = S_IFREG | 06755};
    assert_int_equal(client_call(c, FUSE_MKNOD, ROOT, &node, sizeof node, "program", NULL), 0);
    assert_int_equal(create(c, ROOT, "program2", O_RDWR, 06755), 0);
    uint64_t program = client_lookup(c, ROOT, "program", NULL);
    struct fuse_setattr_in set = {.valid = FATTR_MODE, .mode = 06755};
    assert_int_equal(client_call(c, FUSE_SETATTR, program, &set, sizeof set, NULL, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fstatat(w->folder, i ? "program2" : "program", &st, 0), 0);
        assert_int_equal(st.st_mode & 06000, 0);
    }
    set = (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 1000};
    assert_int_equal(client_call(c, FUSE_SETATTR, program, &set, sizeof set, NULL, NULL), -EPERM);
    assert_int_equal(client_call(c, FUSE_GETXATTR, program, &(struct fuse_getxattr_in){.size = 100},
                                 sizeof(struct fuse_getxattr_in), "security.capability", NULL),
                     -EOPNOTSUPP);
    world_close(w);
}

static void test_numbers(void **state)
{
    static const uint64_t wrong[] = {0, 2, 77, UINT32_MAX, UINT64_MAX};
    struct world *w = world_new(false, 4096);
    struct client *c = &w->client;
    struct fuse_getattr_in get = {0};
    int rc;
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct fuse_read_in read_in = {.fh = wrong[i], .size = 100};
        assert_int_equal(client_call(c, FUSE_GETATTR, wrong[i], &get, sizeof get, NULL, NULL),
                         -ESTALE);
        assert_int_equal(client_call(c, FUSE_READ, ROOT, &read_in, sizeof read_in, NULL, NULL),
                         -EBADF);
        assert_int_equal(client_call(c, FUSE_READDIR, ROOT, &read_in, sizeof read_in, NULL, NULL),
                         -EBADF);
    }
    uint64_t file = client_lookup(c, ROOT, "file", NULL);
    client_lookup(c, file, "x", &rc);
    assert_int_equal(rc, -ENOTDIR);
    /* A session that starts anew knows nothing of what was before. */
    struct fuse_init_in init = {.major = 7, .minor = 40};
    assert_int_equal(client_call(c, FUSE_GETATTR, file, &get, sizeof get, NULL, NULL), 0);
    assert_int_equal(client_call(c, FUSE_INIT, 0, &init, sizeof init, NULL, NULL), 0);
    assert_int_equal(client_call(c, FUSE_GETATTR, file, &get, sizeof get, NULL, NULL), -ESTALE);
    assert_int_equal(client_call(c, 4095, ROOT, NULL, 0, NULL, NULL), -ENOSYS);
    world_close(w);
}

static void test_readonly(void **state)
{
    struct world *w = world_new(true, 4096);
    struct client *c = &w->client;
    char buf[100];
    uint64_t file = client_lookup(c, ROOT, "file", NULL);
    struct fuse_open_in open_in = {.flags = O_WRONLY};
    struct fuse_setattr_in set = {.valid = FATTR_MODE, .mode = 0777};
    (void)state;
    assert_int_equal(client_read_file(c, file, buf, sizeof buf), 6);
    assert_int_equal(client_call(c, FUSE_OPEN, file, &open_in, sizeof open_in, NULL, NULL), -EROFS);
    open_in.flags = O_RDONLY | O_TRUNC;
    assert_int_equal(client_call(c, FUSE_OPEN, file, &open_in, sizeof open_in, NULL, NULL), -EROFS);
    assert_int_equal(create(c, ROOT, "new", O_RDWR, 0644), -EROFS);
    assert_int_equal(client_call(c, FUSE_UNLINK, ROOT, NULL, 0, "file", NULL), -EROFS);
    assert_int_equal(client_call(c, FUSE_SETATTR, file, &set, sizeof set, NULL, NULL), -EROFS);
    assert_int_equal(client_call(c, FUSE_SYMLINK, ROOT, NULL, 0, "new", "x"), -EROFS);
    assert_true(holds(w->folder, "file", "public"));
    world_close(w);
}

/* Far more files than descriptors: each is found again, and is not taken for another. */
static void test_few_descriptors(void **state)
{
    struct world *w = world_new(false, 200);
    struct client *c = &w->client;
    uint64_t nodes[MANY];
    char name[40], buf[40];
    (void)state;
    uint64_t dir = client_lookup(c, ROOT, "dir", NULL);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "dir/%u", i);
        put(w->folder, name, name);
        nodes[i] = client_lookup(c, dir, name + 4, NULL);
        assert_true(nodes[i]);
    }
    /* The guest gives one another name, the host exchanges one, and the folder moves. */
    struct fuse_rename_in to = {.newdir = ROOT};
    assert_int_equal(client_call(c, FUSE_RENAME, dir, &to, sizeof to, "7", "seven"), 0);
    assert_int_equal(unlinkat(w->folder, "dir/8", 0), 0);
    put(w->folder, "other", "another");
    put(w->folder, "dir/8", "another");
    assert_int_equal(client_call(c, FUSE_RENAME, ROOT, &to, sizeof to, "dir", "moved"), 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "dir/%u", i);
        int n = client_read_file(c, nodes[i], buf, sizeof buf);
        if (i == 8 && n == -ESTALE)
            continue;
        assert_int_equal(n, (int)strlen(name));
        assert_memory_equal(buf, name, strlen(name));
    }
    world_close(w);
}

/* ---- a host that changes the folder ---- */

struct exchange {
    int folder;
    atomic_bool over;
};

/* "dir" is now the folder, now the link out of it. */
static void *exchange_names(void *ctx)
{
    struct exchange *e = ctx;
    while (!e->over)
        syscall(SYS_renameat2, e->folder, "dir", e->folder, "dirlink", 2);
    return NULL;
}

static void test_exchanged(void **state)
{
    struct world *w = world_new(false, 64);
    struct client *c = &w->client;
    struct exchange e = {.folder = w->folder};
    pthread_t thread;
    char buf[40];
    unsigned seen = 0;
    (void)state;
    pthread_create(&thread, NULL, exchange_names, &e);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t dir = client_lookup(c, ROOT, "dir", NULL);
        uint64_t file = dir ? client_lookup(c, dir, "secret", NULL) : 0;
        int n = file ? client_read_file(c, file, buf, sizeof buf) : 0;
        if (n > 0) {
            seen++;
            assert_memory_equal(buf, "public", 6);
        }
        if (dir)
            create(c, dir, "made", O_RDWR | O_TRUNC, 0644);
        client_call(c, FUSE_UNLINK, dir ? dir : ROOT, NULL, 0, "made", NULL);
        struct fuse_init_in init = {.major = 7, .minor = 40};
        if (i % 16 == 0)
            client_call(c, FUSE_INIT, 0, &init, sizeof init, NULL, NULL);
    }
    e.over = true;
    pthread_join(thread, NULL);
    assert_true(seen > 100);
    assert_int_equal(faccessat(w->top, "outside/made", F_OK, 0), -1);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_links),
        cmocka_unit_test(test_special),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_readonly), cmocka_unit_test(test_few_descriptors),
        cmocka_unit_test(test_exchanged)};
    umask(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
