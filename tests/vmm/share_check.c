/*
 * What a file system does, as text: run in a folder of a shared one and in one of a tmpfs, it must
 * say the same. For guests (tests/vmm/share.py); static.
 *
 *     share_check calls      names, links, permissions, times, locks, maps, one call after the
 * other share_check random N   random reads, writes, maps, holes and lengths against a copy in
 * memory share_check races N    processes that create, rename, link and remove the same names
 *
 * The exit code is 0 unless it finds an inconsistency by itself; errors of calls are what it
 * prints.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t state;

static uint64_t rnd(uint64_t n)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

static void die(const char *what)
{
    printf("WRONG: %s (%s)\n", what, strerror(errno));
    fflush(stdout);
    _exit(1);
}

/* Prints what a call returned: a number from 0 on, or its error. */
#define SHOW(call)                           \
    do {                                     \
        errno = 0;                           \
        long show_ = (long)(call);           \
        printf("%d %s: ", __LINE__, #call);  \
        if (show_ < 0)                       \
            printf("%s\n", strerror(errno)); \
        else                                 \
            printf("%ld\n", show_);          \
    } while (0)

/* The same for what returns a descriptor, whose number does not matter. */
static int opened(int fd)
{
    return fd < 0 ? fd : 0;
}

static int make(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die("make");
    return fd;
}

static void show_stat(const char *name)
{
    struct stat st;
    if (lstat(name, &st))
        printf("%.40s: %s\n", name, strerror(errno));
    else
        printf("%.40s: mode %o links %ld size %ld owner %d:%d\n", name, st.st_mode,
               S_ISDIR(st.st_mode) ? 0l : (long)st.st_nlink,
               S_ISDIR(st.st_mode) ? 0l : (long)st.st_size, st.st_uid, st.st_gid);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_folder(const char *name)
{
    char *names[2000];
    int n = 0;
    DIR *d = opendir(name);
    for (struct dirent *e; d && (e = readdir(d)) && n < 2000;)
        names[n++] = strdup(e->d_name);
    if (d)
        closedir(d);
    qsort(names, (size_t)n, sizeof *names, compare);
    printf("%s:", name);
    for (int i = 0; i < n; i++)
        printf(" %.30s", names[i]);
    printf("\n");
}

static void names(void)
{
    char longest[300], target[4200];
    memset(longest, 'n', 255);
    longest[255] = 0;
    SHOW(close(make("gr\xc3\xbc\xc3\x9f \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x90\xa7", "x")));
    SHOW(close(make("\xff\xfe not utf-8\n\t\\\"'", "x")));
    SHOW(close(make(" ", "x")));
    SHOW(close(make("...", "x")));
    SHOW(close(make(longest, "long")));
    show_stat(longest);
    strcat(longest, "n");
    SHOW(opened(open(longest, O_CREAT | O_RDWR, 0644)));
    SHOW(mkdir(longest, 0755));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    SHOW(opened(open("d/../d/../a", O_CREAT | O_RDWR | O_EXCL, 0644)));
    SHOW(opened(open("a", O_CREAT | O_RDWR | O_EXCL, 0644)));
    SHOW(opened(open("a/b", O_CREAT | O_RDWR, 0644)));
    SHOW(opened(open("d", O_RDWR)));
    SHOW(opened(open("none", O_RDWR)));
    SHOW(symlink("a", "s"));
    SHOW(symlink("/etc/../no such", "s2"));
    SHOW(symlink("s", "s"));
    SHOW(symlink("loop", "loop"));
    SHOW(opened(open("loop", O_RDONLY)));
    SHOW(opened(open("s", O_RDONLY | O_NOFOLLOW)));
    SHOW(opened(open("s2", O_CREAT | O_EXCL | O_RDWR, 0644)));
    memset(target, 't', 4095);
    target[4095] = 0;
    SHOW(symlink(target, "s3"));
    target[4094] = 0;
    SHOW(symlink(target, "s4"));
    char got[4200];
    SHOW(readlink("s4", got, sizeof got));
    SHOW(readlink("s2", got, sizeof got));
    SHOW(readlink("a", got, sizeof got));
    show_stat("s2");
    SHOW(link("a", "h"));
    SHOW(link("a", "h"));
    SHOW(link("d", "hd"));
    SHOW(link("s", "hs"));
    show_stat("hs");
    show_stat("h");
    SHOW(unlink("a"));
    show_stat("h");
    SHOW(unlink("d"));
    SHOW(rmdir("h"));
    SHOW(mkfifo("fifo", 0600));
    show_stat("fifo");
    SHOW(mknod("file", S_IFREG | 0604, 0));
    show_stat("file");
    show_folder(".");
}

static void renames(void)
{
    SHOW(mkdir("r1", 0755) + mkdir("r2", 0755) + mkdir("r2/sub", 0755));
    close(make("r1/a", "a"));
    close(make("r1/b", "bb"));
    SHOW(rename("r1/a", "r2/a"));
    SHOW(rename("r1/a", "r2/a"));
    SHOW(rename("r2/a", "r1/b"));
    show_stat("r1/b");
    SHOW(rename("r1", "r1/x"));
    SHOW(rename("r1", "r2"));
    SHOW(rename("r1", "r2/sub"));
    SHOW(rename("r2/sub/b", "r2"));
    SHOW(rename("r2", "r2/sub/b"));
    SHOW(rename("r2/sub", "r2/sub"));
    close(make("e1", "1"));
    close(make("e2", "22"));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "e1", AT_FDCWD, "e2", 1));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "e1", AT_FDCWD, "e2", 2));
    show_stat("e1");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "e1", AT_FDCWD, "r2", 2));
    show_stat("e1");
    show_stat("r2");
    SHOW(rmdir("e1"));
    SHOW(rmdir("e1/sub"));
    SHOW(unlink("e1/sub/b"));
    SHOW(rmdir("e1/sub"));
    SHOW(rmdir("e1"));
    show_folder(".");
}

static void removed_files(void)
{
    char buf[16] = "";
    struct stat st;
    int fd = make("gone", "still here");
    int copy = open("gone", O_RDONLY);
    SHOW(unlink("gone"));
    SHOW(opened(open("gone", O_RDONLY)));
    SHOW(fstat(fd, &st));
    printf("links %ld size %ld\n", (long)st.st_nlink, (long)st.st_size);
    SHOW(pread(copy, buf, sizeof buf, 0));
    printf("%.10s\n", buf);
    SHOW(pwrite(fd, "STILL", 5, 0));
    SHOW(pread(copy, buf, 5, 0));
    printf("%.5s\n", buf);
    SHOW(ftruncate(fd, 3));
    SHOW(fchmod(fd, 0600));
    SHOW(fstat(copy, &st));
    printf("size %ld mode %o\n", (long)st.st_size, st.st_mode);
    close(fd);
    close(copy);
    fd = make("over", "old");
    close(make("new", "new!"));
    SHOW(rename("new", "over"));
    SHOW(pread(fd, buf, sizeof buf, 0));
    SHOW(fstat(fd, &st));
    printf("links %ld\n", (long)st.st_nlink);
    close(fd);
    mkdir("gd", 0755);
    fd = open("gd", O_RDONLY | O_DIRECTORY);
    SHOW(rmdir("gd"));
    SHOW(opened(openat(fd, "x", O_CREAT | O_RDWR, 0644)));
    close(fd);
}

static void permissions(void)
{
    umask(027);
    close(make("p", "x"));
    mkdir("pd", 0777);
    show_stat("p");
    show_stat("pd");
    umask(022);
    for (unsigned mode = 0; mode <= 0777; mode += 0111) {
        chmod("p", mode);
        show_stat("p");
    }
    SHOW(chmod("pd", 01777));
    show_stat("pd");
    SHOW(chown("p", 0, 0));
    SHOW(chmod("p", 0400));
    fflush(stdout);
    if (!fork()) {
        setgid(1000);
        setuid(1000);
        SHOW(opened(open("p", O_RDONLY)));
        SHOW(opened(open("pd/x", O_CREAT | O_RDWR, 0644)));
        SHOW(chmod("p", 0777));
        SHOW(unlink("p"));
        SHOW(access("p", R_OK));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    const struct timespec times[2] = {{1000000001, 123456789}, {1500000000, 987654321}};
    struct stat st;
    SHOW(utimensat(AT_FDCWD, "p", times, 0));
    stat("p", &st);
    printf("times %ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, (long)st.st_atim.tv_nsec,
           (long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
    symlink("p", "pl");
    SHOW(utimensat(AT_FDCWD, "pl", times, AT_SYMLINK_NOFOLLOW));
    lstat("pl", &st);
    printf("time of link %ld\n", (long)st.st_mtim.tv_sec);
}

/* A lock as another process sees it. */
static int try_lock(const char *name, bool whole, int how, int at)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        int fd = open(name, O_RDWR);
        struct flock l = {.l_type = (short)how, .l_whence = SEEK_SET, .l_start = at, .l_len = 10};
        int rc = whole ? flock(fd, how | LOCK_NB) : fcntl(fd, F_SETLK, &l);
        _exit(rc ? errno : 0);
    }
    int status;
    waitpid(pid, &status, 0);
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

static void locks(void)
{
    int fd = make("lock", "0123456789012345678901234567890123456789");
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    SHOW(flock(fd, LOCK_EX));
    SHOW(try_lock("lock", true, LOCK_EX, 0));
    SHOW(try_lock("lock", true, LOCK_SH, 0));
    SHOW(flock(fd, LOCK_SH));
    SHOW(try_lock("lock", true, LOCK_SH, 0));
    SHOW(try_lock("lock", true, LOCK_EX, 0));
    SHOW(flock(fd, LOCK_UN));
    SHOW(try_lock("lock", true, LOCK_EX, 0));
    SHOW(fcntl(fd, F_SETLK, &l));
    SHOW(try_lock("lock", false, F_WRLCK, 0));
    SHOW(try_lock("lock", false, F_WRLCK, 15));
    SHOW(try_lock("lock", false, F_RDLCK, 5));
    SHOW(try_lock("lock", false, F_RDLCK, 20));
    l.l_type = F_RDLCK;
    SHOW(fcntl(fd, F_SETLK, &l));
    SHOW(try_lock("lock", false, F_RDLCK, 15));
    SHOW(try_lock("lock", false, F_WRLCK, 15));
    /* A child that waits gets it when it is let go. */
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        int mine = open("lock", O_RDWR);
        l.l_type = F_WRLCK;
        _exit(fcntl(mine, F_SETLKW, &l) ? errno : 0);
    }
    usleep(100000);
    l.l_type = F_UNLCK;
    SHOW(fcntl(fd, F_SETLK, &l));
    int status;
    waitpid(pid, &status, 0);
    printf("waiter %d\n", status);
    close(fd);
}

static void maps(void)
{
    char buf[8192];
    int fd = make("map", "");
    memset(buf, 'f', sizeof buf);
    SHOW(pwrite(fd, buf, 6000, 0));
    char *a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SHOW(a == MAP_FAILED ? -1 : 0);
    int other = open("map", O_RDWR);
    char *b = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    char *c = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (b == MAP_FAILED || c == MAP_FAILED)
        die("mmap");
    a[1] = 'A';
    b[5000] = 'B';
    c[2] = 'C';
    printf("maps %c%c%c %c%c\n", b[1], a[5000], a[2], c[1], c[2]);
    SHOW(pread(fd, buf, 6000, 0));
    printf("read %c%c%c\n", buf[1], buf[5000], buf[2]);
    SHOW(pwrite(other, "W", 1, 3));
    printf("written %c%c\n", a[3], b[3]);
    fflush(stdout);
    if (!fork()) {
        a[10] = 'P';
        _exit(0);
    }
    wait(NULL);
    printf("child %c tail %d\n", b[10], a[6001]);
    SHOW(msync(a, 8192, MS_SYNC));
    SHOW(ftruncate(fd, 100));
    SHOW(ftruncate(fd, 8000));
    printf("cut %d %c\n", a[5000], a[10]);
    munmap(a, 8192);
    munmap(b, 8192);
    close(fd);
    close(other);
    fd = open("map", O_RDONLY);
    SHOW(pread(fd, buf, sizeof buf, 0));
    printf("after %c%c%c %d\n", buf[1], buf[3], buf[10], buf[5000]);
    SHOW(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    close(fd);
}

static void contents(void)
{
    char buf[300];
    int fd = make("c", "0123456789");
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(pwrite(fd, "X", 1, 1 << 20));
    SHOW(pread(fd, buf, 20, 5));
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(lseek(fd, 2 << 20, SEEK_DATA));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    SHOW(pread(fd, buf, 4, 0));
    printf("hole %d\n", buf[0]);
    SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 3 << 20, 4096));
    SHOW(fallocate(fd, 0, 0, 3 << 20));
    show_stat("c");
    SHOW(ftruncate(fd, -1));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    close(fd);
    int a = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
    int b = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
    SHOW(write(a, "one ", 4) + write(b, "two ", 4) + write(a, "three", 5));
    SHOW(pwrite(a, "!", 1, 0));
    close(a);
    close(b);
    fd = open("log", O_RDWR | O_TRUNC);
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(write(fd, "again", 5));
    SHOW(opened(open("log", O_RDONLY | O_DIRECTORY)));
    close(fd);
    SHOW(setxattr("log", "user.key", "value", 5, 0));
    SHOW(setxattr("log", "user.key", "value", 5, XATTR_CREATE));
    SHOW(getxattr("log", "user.key", buf, sizeof buf));
    SHOW(getxattr("log", "user.key", buf, 2));
    SHOW(getxattr("log", "user.none", buf, sizeof buf));
    SHOW(listxattr("log", buf, sizeof buf));
    SHOW(removexattr("log", "user.key"));
    SHOW(removexattr("log", "user.key"));
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(s, (struct sockaddr *)&address, sizeof address));
    SHOW(bind(s, (struct sockaddr *)&address, sizeof address));
    close(s);
    show_stat("sock");
}

/* More entries than one answer has room for, removed while they are listed. */
static void big_folder(void)
{
    char name[40];
    unsigned seen = 0;
    mkdir("big", 0755);
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "big/entry number %u", i);
        close(make(name, ""));
    }
    DIR *d = opendir("big");
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        seen++;
        if (unlinkat(dirfd(d), e->d_name, 0))
            die("unlinkat");
    }
    closedir(d);
    printf("seen %u\n", seen);
    SHOW(rmdir("big"));
}

/* ---- random ---- */

#define SPAN (600u << 10)

static uint8_t shadow[SPAN], block[SPAN];
static size_t length;

static void random_one(int *fd)
{
    size_t at = rnd(SPAN - 70000), n = 1 + rnd(rnd(4) ? 5000 : 66000);
    unsigned what = (unsigned)rnd(100);
    uint8_t fill = (uint8_t)rnd(256);
    if (what < 25) {
        memset(block, fill, n);
        if (pwrite(*fd, block, n, (off_t)at) != (ssize_t)n)
            die("write");
        memcpy(shadow + at, block, n);
        length = at + n > length ? at + n : length;
    } else if (what < 55) {
        ssize_t want = at >= length ? 0 : (ssize_t)(length - at < n ? length - at : n);
        if (pread(*fd, block, n, (off_t)at) != want || memcmp(block, shadow + at, (size_t)want))
            die("read");
    } else if (what < 70 && length) {
        at %= length;
        n = n < length - at ? n : length - at;
        size_t page = at & ~4095ul;
        uint8_t *m =
            mmap(NULL, at - page + n, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, (off_t)page);
        if (m == MAP_FAILED || memcmp(m + (at - page), shadow + at, n))
            die("map");
        if (what < 62) {
            memset(m + (at - page), fill, n);
            memset(shadow + at, fill, n);
        }
        munmap(m, at - page + n);
    } else if (what < 78) {
        if (ftruncate(*fd, (off_t)at))
            die("ftruncate");
        if (at < length)
            memset(shadow + at, 0, length - at);
        length = at;
    } else if (what < 84) {
        if (fallocate(*fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n))
            die("punch");
        memset(shadow + at, 0, n);
    } else if (what < 90) {
        loff_t from = (loff_t)at, to = (loff_t)rnd(SPAN - 70000);
        if (llabs(from - to) < (long long)n)
            return;
        ssize_t done = copy_file_range(*fd, &from, *fd, &to, n, 0);
        if (done < 0 && errno != EXDEV && errno != EOPNOTSUPP)
            die("copy_file_range");
        if (done <= 0)
            return;
        to -= done;
        memmove(shadow + to, shadow + at, (size_t)done);
        length = (size_t)to + (size_t)done > length ? (size_t)to + (size_t)done : length;
    } else if (what < 95) {
        close(*fd);
        *fd = open("random", O_RDWR);
        if (*fd < 0)
            die("open");
    } else if (fsync(*fd)) {
        die("fsync");
    }
    struct stat st;
    if (fstat(*fd, &st) || (size_t)st.st_size != length)
        die("length");
}

static void random_all(unsigned steps)
{
    int fd = open("random", O_CREAT | O_TRUNC | O_RDWR, 0644);
    for (unsigned i = 0; i < steps; i++)
        random_one(&fd);
    close(fd);
    unlink("random");
}

/* ---- races ---- */

#define RACERS 4

static void racer(unsigned steps)
{
    static const char *const names[] = {"r/a", "r/b", "r/c", "r/d/a", "r/d/b"};
    for (unsigned i = 0; i < steps; i++) {
        const char *a = names[rnd(5)], *b = names[rnd(5)];
        int rc = 0, fd;
        switch (rnd(6)) {
        case 0:
            fd = open(a, O_CREAT | O_RDWR, 0644);
            rc = fd < 0 ? -1 : write(fd, "text", 4) != 4 || close(fd);
            break;
        case 1:
            rc = rename(a, b);
            break;
        case 2:
            rc = link(a, b);
            break;
        case 3:
            rc = unlink(a);
            break;
        case 4:
            fd = open(a, O_RDONLY);
            char text[8];
            ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
            if (fd >= 0 && (close(fd) || (n && (n != 4 || memcmp(text, "text", 4)))))
                die("contents");
            break;
        default:
            rc = (rnd(2) ? mkdir("r/d", 0755) : rmdir("r/d"));
            break;
        }
        if (rc && errno != ENOENT && errno != EEXIST && errno != ENOTEMPTY)
            die("race");
        fd = open("r/log", O_WRONLY | O_APPEND | O_CREAT, 0644);
        if (fd < 0 || write(fd, "line of a log\n", 14) != 14 || close(fd))
            die("log");
    }
    _exit(0);
}

static int races(unsigned steps)
{
    struct stat st;
    int bad = 0, status;
    mkdir("r", 0755);
    for (unsigned i = 0; i < RACERS; i++)
        if (!fork()) {
            state += i << 20;
            racer(steps);
        }
    while (wait(&status) > 0)
        bad |= status;
    if (stat("r/log", &st) || st.st_size != (off_t)14 * RACERS * steps)
        die("lines were lost");
    for (const char *const *n =
             (const char *const[]){"r/a", "r/b", "r/c", "r/d/a", "r/d/b", "r/log", NULL};
         *n; n++)
        unlink(*n);
    rmdir("r/d");
    if (rmdir("r"))
        die("what is left");
    return bad != 0;
}

int main(int argc, char **argv)
{
    unsigned steps = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    const char *seed = getenv("GUISE_SEED");
    state = seed ? strtoull(seed, NULL, 0) : 1;
    setvbuf(stdout, NULL, _IOFBF, 65536);
    if (argc > 1 && !strcmp(argv[1], "random")) {
        random_all(steps);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "races"))
        return races(steps);
    umask(022);
    names();
    renames();
    removed_files();
    permissions();
    locks();
    maps();
    contents();
    big_folder();
    return 0;
}
