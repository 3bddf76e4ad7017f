/* Directories: reading, walking, the current one, calls relative to one, changes seen by inotify.
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void reading(void)
{
    CHECK_IS(mkdir("many", 0755), 0);
    for (int i = 0; i < 500; i++) {
        char name[40];
        snprintf(name, sizeof(name), "many/file-%d-%.*s", i, i % 20, "xxxxxxxxxxxxxxxxxxxx");
        CHECK_IS(close(creat(name, 0600)), 0);
    }
    CHECK_IS(mkdir("many/sub", 0755), 0);
    CHECK_IS(symlink("nowhere", "many/link"), 0);

    DIR *dir = opendir("many");
    CHECK(dir);
    char *names[600];
    int count = 0, kinds[16] = {0};
    long place = -1;
    char at_place[256] = "";
    for (struct dirent *entry; (entry = readdir(dir));) {
        CHECK(entry->d_reclen >= 24 && entry->d_ino);
        kinds[entry->d_type & 15]++;
        if (place >= 0 && !at_place[0])
            strcpy(at_place, entry->d_name);
        names[count++] = strdup(entry->d_name);
        if (count == 100)
            place = telldir(dir);
    }
    printf("%d entries: %d files, %d directories, %d links\n", count, kinds[DT_REG], kinds[DT_DIR],
           kinds[DT_LNK]);
    qsort(names, (size_t)count, sizeof(names[0]), compare);
    printf("%s %s %s\n", names[0], names[250], names[count - 1]);
    seekdir(dir, place);
    CHECK(!strcmp(readdir(dir)->d_name, at_place));
    rewinddir(dir);
    CHECK(readdir(dir));
    CHECK_IS(closedir(dir), 0);

    int fd = open("many", O_RDONLY);
    char small[8];
    CHECK_ERROR(syscall(SYS_getdents64, fd, small, sizeof(small)), EINVAL);
    CHECK_IS(close(fd), 0);
    CHECK(!opendir("many/link"));
    DONE("reading");
}

static int visited, bytes;

static int visit(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    visited += 1 + where->level;
    bytes += kind == FTW_F ? (int)st->st_size : 0;
    return 0;
}

static void walking(void)
{
    CHECK_IS(nftw("many", visit, 10, FTW_PHYS), 0);
    printf("visited %d, %d bytes\n", visited, bytes);
}

static void current(void)
{
    char before[PATH_MAX], after[PATH_MAX];
    CHECK(getcwd(before, sizeof(before)));
    CHECK_IS(chdir("many/sub"), 0);
    CHECK(getcwd(after, sizeof(after)));
    CHECK(!strncmp(before, after, strlen(before)));
    printf("now %s\n", after + strlen(before));
    CHECK(!getcwd(after, 3) && errno == ERANGE);
    int fd = open("../..", O_RDONLY);
    CHECK_IS(fchdir(fd), 0);
    CHECK(getcwd(after, sizeof(after)) && !strcmp(before, after));
    CHECK_ERROR(chdir("missing"), ENOENT);
    char *real = realpath("many/../many/sub/./", NULL);
    printf("real %s\n", real + strlen(before));
    free(real);
    int many = open("many", O_PATH | O_DIRECTORY);
    CHECK(openat(many, "file-0-", O_RDONLY) >= 0);
    CHECK_ERROR(openat(many, "../missing", O_RDONLY), ENOENT);
    CHECK_ERROR(openat(fd + 100, "x", O_RDONLY), EBADF);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    CHECK_ERROR(syscall(SYS_openat2, many, "../many", &how, sizeof(how)), EXDEV);
    CHECK(syscall(SYS_openat2, many, "file-0-", &how, sizeof(how)) >= 0);
    DONE("current");
}

static void changes(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(fd >= 0);
    int watch = inotify_add_watch(fd, "many/sub", IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE);
    CHECK(watch > 0);
    char buffer[4096] __attribute__((aligned(8)));
    CHECK_ERROR(read(fd, buffer, sizeof(buffer)), EAGAIN);
    CHECK_IS(close(creat("many/sub/new", 0600)), 0);
    CHECK_IS(rename("many/sub/new", "many/sub/renamed"), 0);
    CHECK_IS(unlink("many/sub/renamed"), 0);
    struct pollfd wait = {fd, POLLIN, 0};
    CHECK_IS(poll(&wait, 1, 1000), 1);
    ssize_t size = read(fd, buffer, sizeof(buffer));
    for (char *at = buffer; at < buffer + size;) {
        struct inotify_event event;
        memcpy(&event, at, sizeof(event));
        CHECK_IS(event.wd, watch);
        printf("event %#x %s%s\n", event.mask, at + sizeof(event), event.cookie ? " moved" : "");
        at += sizeof(event) + event.len;
    }
    CHECK_IS(inotify_rm_watch(fd, watch), 0);
    CHECK_ERROR(inotify_rm_watch(fd, watch), EINVAL);
    DONE("changes");
}

int main(void)
{
    umask(022);
    reading();
    walking();
    current();
    changes();
    return 0;
}
