/* Files: opening, reading and writing in all ways, holes, what copies inside the kernel. */
#include "check.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void opening(void)
{
    int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0640);
    CHECK(fd >= 0);
    CHECK_ERROR(open("a", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
    CHECK_ERROR(open("missing", O_RDONLY), ENOENT);
    CHECK_ERROR(open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_IS(symlink("a", "link"), 0);
    CHECK_ERROR(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_ERROR(open(".", O_WRONLY), EISDIR);
    int flags = fcntl(fd, F_GETFL);
    printf("flags %o\n", flags & ~O_LARGEFILE);
    CHECK_IS(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK), 0);
    printf("flags %o\n", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    CHECK_IS(fcntl(fd, F_GETFD), 0);
    int path = open("a", O_PATH | O_CLOEXEC);
    CHECK_IS(fcntl(path, F_GETFD), FD_CLOEXEC);
    CHECK_ERROR(read(path, &flags, 1), EBADF);
    CHECK_IS(close(path), 0);
    CHECK_ERROR(close(path), EBADF);
    CHECK_IS(close(fd), 0);
    fd = creat("b", 0600);
    CHECK_ERROR(read(fd, &flags, 1), EBADF);
    CHECK_IS(close(fd), 0);
    DONE("opening");
}

static void reading(void)
{
    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char buffer[64] = {0};
    CHECK_IS(write(fd, "0123456789", 10), 10);
    CHECK_IS(lseek(fd, -4, SEEK_END), 6);
    CHECK_IS(read(fd, buffer, 64), 4);
    CHECK(!memcmp(buffer, "6789", 4));
    CHECK_IS(read(fd, buffer, 64), 0);
    CHECK_IS(pwrite(fd, "xy", 2, 3), 2);
    CHECK_IS(pread(fd, buffer, 5, 2), 5);
    CHECK(!memcmp(buffer, "2xy56", 5));
    CHECK_IS(lseek(fd, 0, SEEK_CUR), 10);
    CHECK_ERROR(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERROR(lseek(fd, 0, 99), EINVAL);
    /* Beyond 4 GiB: offsets are whole. */
    off_t far = (off_t)5 << 32;
    CHECK_IS(pwrite(fd, "far", 3, far), 3);
    CHECK_IS(lseek(fd, 0, SEEK_END), far + 3);
    CHECK_IS(lseek(fd, far + 1, SEEK_SET), far + 1);
    CHECK_IS(read(fd, buffer, 64), 2);
    CHECK(lseek(fd, 100000, SEEK_DATA) > 100000);
    CHECK_IS(ftruncate(fd, 4), 0);
    struct stat st;
    CHECK_IS(fstat(fd, &st), 0);
    CHECK_IS(st.st_size, 4);
    CHECK_IS(posix_fallocate(fd, 0, 20000), 0);
    CHECK_IS(fstat(fd, &st), 0);
    CHECK_IS(st.st_size, 20000);
    CHECK_IS(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
    CHECK_IS(posix_fadvise(fd, 0, 0, 77), EINVAL);
    CHECK_IS(fsync(fd), 0);
    CHECK_IS(fdatasync(fd), 0);
    CHECK_IS(sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE), 0);
    CHECK_IS(syncfs(fd), 0);
    CHECK_IS(readahead(fd, 0, 4096), 0);
    int n = -1;
    CHECK_IS(lseek(fd, 19990, SEEK_SET), 19990);
    CHECK_IS(ioctl(fd, FIONREAD, &n), 0);
    CHECK_IS(n, 10);
    CHECK_ERROR(ioctl(fd, TIOCGWINSZ, buffer), ENOTTY);
    CHECK_IS(close(fd), 0);
    DONE("reading");
}

static void vectors(void)
{
    int fd = open("vectors", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char a[4] = "abc", b[4] = "def", c[8] = {0};
    struct iovec out[3] = {{a, 3}, {NULL, 0}, {b, 3}};
    CHECK_IS(writev(fd, out, 3), 6);
    CHECK_IS(pwritev(fd, out, 3, 6), 6);
    struct iovec in[2] = {{a, 2}, {c, 8}};
    CHECK_IS(preadv(fd, in, 2, 1), 10);
    CHECK(!memcmp(a, "bc", 2) && !memcmp(c, "defabcde", 8));
    CHECK_IS(lseek(fd, 0, SEEK_SET), 0);
    CHECK_IS(readv(fd, in, 2), 10);
    CHECK_IS(pwritev2(fd, out, 3, -1, RWF_APPEND), 6);
    CHECK_IS(preadv2(fd, in, 2, 0, 0), 10);
    CHECK_IS(pwritev2(fd, out, 1, ((off_t)3 << 32) + 5, 0), 3);
    CHECK_IS(lseek(fd, 0, SEEK_END), ((off_t)3 << 32) + 8);
    CHECK_ERROR(writev(fd, out, -1), EINVAL);
    CHECK_ERROR(writev(fd, out, 1025), EINVAL);
    CHECK_IS(writev(fd, out, 0), 0);
    struct iovec many[1024];
    for (int i = 0; i < 1024; i++)
        many[i] = (struct iovec){c, 1};
    CHECK_IS(writev(fd, many, 1024), 1024);
    CHECK_IS(close(fd), 0);
    DONE("vectors");
}

static void descriptors(void)
{
    int fd = open("data", O_RDWR);
    CHECK_IS(dup2(fd, 100), 100);
    CHECK_IS(dup3(fd, 101, O_CLOEXEC), 101);
    CHECK_IS(fcntl(101, F_GETFD), FD_CLOEXEC);
    CHECK_ERROR(dup3(fd, fd, 0), EINVAL);
    CHECK_IS(dup2(fd, fd), fd);
    CHECK_IS(fcntl(fd, F_DUPFD, 200), 200);
    CHECK_IS(fcntl(fd, F_DUPFD_CLOEXEC, 200), 201);
    CHECK_IS(lseek(fd, 7, SEEK_SET), 7);
    CHECK_IS(lseek(201, 0, SEEK_CUR), 7);
    CHECK_IS(close_range(100, 150, 0), 0);
    CHECK_ERROR(fcntl(100, F_GETFD), EBADF);
    CHECK_IS(fcntl(200, F_GETFD), 0);
    CHECK_IS(close_range(200, ~0U, CLOSE_RANGE_CLOEXEC), 0);
    CHECK_IS(fcntl(200, F_GETFD), FD_CLOEXEC);
    CHECK_IS(close(fd), 0);
    DONE("descriptors");
}

static void copies(void)
{
    char buffer[10000], again[10000];
    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = (char)(i * 31 + i / 256);
    int in = open("in", O_RDWR | O_CREAT, 0600), out = open("out", O_RDWR | O_CREAT, 0600);
    CHECK_IS(write(in, buffer, sizeof(buffer)), sizeof(buffer));
    off_t from = 1000, to = 0;
    CHECK_IS(sendfile(out, in, &from, 5000), 5000);
    CHECK_IS(from, 6000);
    loff_t a = 6000, b = 5000;
    CHECK_IS(copy_file_range(in, &a, out, &b, 4000, 0), 4000);
    CHECK_IS(a, 10000);
    CHECK_IS(b, 9000);
    CHECK_IS(pread(out, again, 9000, to), 9000);
    CHECK(!memcmp(again, buffer + 1000, 9000));

    int pipes[2], second[2];
    CHECK_IS(pipe(pipes), 0);
    CHECK_IS(pipe(second), 0);
    a = 0;
    CHECK_IS(splice(in, &a, pipes[1], NULL, 3000, 0), 3000);
    CHECK_IS(tee(pipes[0], second[1], 3000, 0), 3000);
    b = 0;
    CHECK_IS(splice(pipes[0], NULL, out, &b, 3000, SPLICE_F_MOVE), 3000);
    CHECK_IS(b, 3000);
    CHECK_IS(read(second[0], again, 5000), 3000);
    CHECK(!memcmp(again, buffer, 3000));
    struct iovec part = {buffer + 7000, 1000};
    CHECK_IS(vmsplice(pipes[1], &part, 1, 0), 1000);
    CHECK_IS(read(pipes[0], again, 5000), 1000);
    CHECK(!memcmp(again, buffer + 7000, 1000));
    DONE("copies");
}

static void unnamed(void)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0) {
        CHECK_IS(errno, EOPNOTSUPP);
    } else {
        char path[64];
        CHECK_IS(write(fd, "here", 4), 4);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        CHECK_IS(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
        struct stat st;
        CHECK_IS(stat("named", &st), 0);
        CHECK_IS(st.st_size, 4);
        CHECK_IS(close(fd), 0);
    }
    fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    CHECK_IS(ftruncate(fd, 8192), 0);
    CHECK_IS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
    CHECK_IS(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_WRITE);
    CHECK_ERROR(ftruncate(fd, 1), EPERM);
    CHECK_ERROR(write(fd, "x", 1), EPERM);
    DONE("unnamed");
}

int main(void)
{
    umask(022);
    opening();
    reading();
    vectors();
    descriptors();
    copies();
    unnamed();
    return 0;
}
