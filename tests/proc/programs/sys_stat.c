/* What is known about files: the stat family, times, modes, links, names, attributes. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>

static void make(const char *name, const char *content)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    CHECK(fd >= 0);
    CHECK_IS(write(fd, content, strlen(content)), strlen(content));
    CHECK_IS(close(fd), 0);
}

static void show(const char *name)
{
    struct stat st;
    CHECK_IS(lstat(name, &st), 0);
    printf("%s: mode %o links %lu size %ld uid %s\n", name, st.st_mode, (unsigned long)st.st_nlink,
           S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, st.st_uid == geteuid() ? "own" : "other");
}

static void fields(void)
{
    umask(027);
    make("file", "0123456789");
    show("file");
    CHECK_IS(umask(022), 027);
    CHECK_IS(mkdir("dir", 0777), 0);
    show("dir");
    CHECK_IS(symlink("file", "soft"), 0);
    show("soft");
    CHECK_IS(link("file", "hard"), 0);
    show("hard");
    CHECK_IS(mkfifo("fifo", 0600), 0);
    show("fifo");

    struct stat a, b;
    int fd = open("soft", O_RDONLY), here = open(".", O_PATH);
    CHECK_IS(fstat(fd, &a), 0);
    CHECK_IS(stat("hard", &b), 0);
    CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
    CHECK(a.st_blksize >= 512 && a.st_blocks <= 64);
    CHECK_IS(fstatat(here, "soft", &b, AT_SYMLINK_NOFOLLOW), 0);
    CHECK(S_ISLNK(b.st_mode));
    CHECK_IS(fstatat(fd, "", &b, AT_EMPTY_PATH), 0);
    CHECK_IS(a.st_ino, b.st_ino);
    CHECK_ERROR(fstatat(fd, "", &b, 0), ENOENT);
    CHECK_ERROR(fstatat(fd, "x", &b, 0), ENOTDIR);
    CHECK_ERROR(stat("missing", &b), ENOENT);
    CHECK_ERROR(fstat(-1, &b), EBADF);
    CHECK_IS(stat("/dev/null", &b), 0);
    printf("null: %u %u\n", major(b.st_rdev), minor(b.st_rdev));
    CHECK(S_ISCHR(b.st_mode));

    struct statx x;
    CHECK_IS(statx(here, "file", 0, STATX_BASIC_STATS | STATX_BTIME, &x), 0);
    CHECK_IS(x.stx_ino, a.st_ino);
    CHECK_IS(x.stx_size, 10);
    CHECK_IS(x.stx_mode, a.st_mode);
    CHECK_IS(makedev(x.stx_dev_major, x.stx_dev_minor), a.st_dev);
    CHECK_IS(x.stx_mtime.tv_nsec, a.st_mtim.tv_nsec);
    CHECK_ERROR(statx(here, "file", 0x10000000, STATX_BASIC_STATS, &x), EINVAL);
    DONE("fields");
}

static void times(void)
{
    struct stat st;
    struct timespec set[2] = {{1000000001, 123456789}, {2000000002, 987654321}};
    CHECK_IS(utimensat(AT_FDCWD, "file", set, 0), 0);
    CHECK_IS(stat("file", &st), 0);
    CHECK(st.st_atim.tv_sec == 1000000001 && st.st_atim.tv_nsec == 123456789);
    CHECK(st.st_mtim.tv_sec == 2000000002 && st.st_mtim.tv_nsec == 987654321);
    set[0].tv_nsec = UTIME_OMIT;
    set[1].tv_nsec = UTIME_NOW;
    CHECK_IS(utimensat(AT_FDCWD, "file", set, 0), 0);
    CHECK_IS(stat("file", &st), 0);
    CHECK_IS(st.st_atim.tv_sec, 1000000001);
    CHECK(st.st_mtim.tv_sec != 2000000002);
    set[0].tv_nsec = 2000000000;
    CHECK_ERROR(utimensat(AT_FDCWD, "file", set, 0), EINVAL);
    int fd = open("file", O_RDWR);
    struct timespec old[2] = {{-5, 0}, {-7, 5}};
    CHECK_IS(futimens(fd, old), 0);
    CHECK_IS(fstat(fd, &st), 0);
    printf("before the epoch: %ld %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
    struct timeval values[2] = {{7, 8}, {9, 10}};
    CHECK_IS(utimes("file", values), 0);
    CHECK_IS(stat("file", &st), 0);
    CHECK(st.st_mtim.tv_sec == 9 && st.st_mtim.tv_nsec == 10000);
    CHECK_IS(utimensat(AT_FDCWD, "soft", set + 1, AT_SYMLINK_NOFOLLOW) == 0 || errno == EINVAL, 1);
    CHECK_IS(close(fd), 0);
    DONE("times");
}

static void modes(void)
{
    struct stat st;
    CHECK_IS(chmod("file", 04751), 0);
    show("file");
    int fd = open("file", O_RDONLY);
    CHECK_IS(fchmod(fd, 0600), 0);
    CHECK_IS(fchmodat(AT_FDCWD, "soft", 0640, 0), 0);
    show("file");
    CHECK_ERROR(chmod("missing", 0), ENOENT);
    CHECK_IS(chown("file", geteuid(), getegid()), 0);
    CHECK_IS(lchown("soft", (uid_t)-1, (gid_t)-1), 0);
    CHECK_IS(fchown(fd, geteuid(), (gid_t)-1), 0);
    CHECK_IS(fchownat(fd, "", (uid_t)-1, getegid(), AT_EMPTY_PATH), 0);
    CHECK_IS(access("file", R_OK | W_OK), 0);
    CHECK_ERROR(access("file", X_OK), EACCES);
    CHECK_ERROR(access("missing", F_OK), ENOENT);
    CHECK_IS(faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS), 0);
    CHECK_IS(euidaccess("file", F_OK), 0);
    CHECK_IS(truncate("file", 3), 0);
    CHECK_IS(stat("file", &st), 0);
    CHECK_IS(st.st_size, 3);
    CHECK_IS(close(fd), 0);
    DONE("modes");
}

static void names(void)
{
    char buffer[100];
    CHECK_IS(readlink("soft", buffer, sizeof(buffer)), 4);
    CHECK_IS(readlink("soft", buffer, 2), 2);
    CHECK_ERROR(readlink("file", buffer, 100), EINVAL);
    make("one", "1");
    make("two", "22");
    CHECK_ERROR(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", RENAME_NOREPLACE), EEXIST);
    CHECK_IS(renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE), 0);
    show("one");
    CHECK_IS(rename("one", "two"), 0);
    CHECK_ERROR(access("one", F_OK), ENOENT);
    int dir = open("dir", O_RDONLY | O_DIRECTORY);
    CHECK_IS(renameat(AT_FDCWD, "two", dir, "three"), 0);
    CHECK_IS(linkat(dir, "three", AT_FDCWD, "four", 0), 0);
    CHECK_IS(symlinkat("three", dir, "five"), 0);
    CHECK_IS(readlinkat(dir, "five", buffer, 100), 5);
    CHECK_IS(mknodat(dir, "six", S_IFREG | 0600, 0), 0);
    CHECK_IS(mkdirat(dir, "seven", 0700), 0);
    CHECK_ERROR(unlinkat(dir, "seven", 0), EISDIR);
    CHECK_IS(unlinkat(dir, "seven", AT_REMOVEDIR), 0);
    CHECK_ERROR(rmdir("dir"), ENOTEMPTY);
    CHECK_ERROR(unlink("missing"), ENOENT);
    show("four");
    memset(buffer, 'n', sizeof(buffer));
    char name[300];
    memset(name, 'n', 299);
    name[299] = 0;
    CHECK_ERROR(open(name, O_RDONLY), ENAMETOOLONG);
    DONE("names");
}

static void attributes(void)
{
    char buffer[64] = {0}, list[256] = {0};
    if (setxattr("four", "user.color", "blue", 4, 0) && errno == EOPNOTSUPP) {
        DONE("attributes");
        return;
    }
    CHECK_ERROR(setxattr("four", "user.color", "red", 3, XATTR_CREATE), EEXIST);
    CHECK_ERROR(setxattr("four", "user.none", "red", 3, XATTR_REPLACE), ENODATA);
    CHECK_IS(getxattr("four", "user.color", NULL, 0), 4);
    CHECK_IS(getxattr("four", "user.color", buffer, 64), 4);
    CHECK(!memcmp(buffer, "blue", 4));
    CHECK_ERROR(getxattr("four", "user.color", buffer, 2), ERANGE);
    CHECK(listxattr("four", list, sizeof(list)) >= 11);
    int fd = open("four", O_RDWR);
    CHECK_IS(fsetxattr(fd, "user.more", "", 0, 0), 0);
    CHECK_IS(fgetxattr(fd, "user.more", buffer, 64), 0);
    CHECK_IS(fremovexattr(fd, "user.more"), 0);
    CHECK(flistxattr(fd, list, sizeof(list)) >= 11);
    CHECK_IS(removexattr("four", "user.color"), 0);
    CHECK_ERROR(lgetxattr("four", "user.color", buffer, 64), ENODATA);
    CHECK_IS(close(fd), 0);
    DONE("attributes");
}

static void file_systems(void)
{
    struct statfs a;
    struct statvfs b;
    CHECK_IS(statfs(".", &a), 0);
    CHECK_IS(statvfs(".", &b), 0);
    CHECK(a.f_bsize > 0 && a.f_blocks >= a.f_bfree && a.f_namelen == 255);
    CHECK_IS(a.f_blocks, b.f_blocks);
    CHECK_IS(a.f_namelen, b.f_namemax);
    CHECK_IS(statfs("/proc", &a), 0);
    printf("proc %lx\n", (unsigned long)a.f_type);
    int fd = open("/proc", O_RDONLY);
    CHECK_IS(fstatfs(fd, &a), 0);
    CHECK_IS(a.f_type, 0x9fa0);
    DONE("file systems");
}

int main(void)
{
    fields();
    times();
    modes();
    names();
    attributes();
    file_systems();
    return 0;
}
