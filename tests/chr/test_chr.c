/* Character back ends but for the terminal: order, bounds, back pressure, hang-ups, errors. */
#include "base/local.h"
#include "base/loop.h"
#include "chr/memory.h"
#include "chr/port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;

/* A device with `room` bytes of FIFO. */
struct device {
    char got[1 << 17];
    size_t len, room, most;
    int writable;
};

static size_t device_room(void *ctx)
{
    return ((struct device *)ctx)->room;
}

static void device_receive(void *ctx, const uint8_t *data, size_t len)
{
    struct device *d = ctx;
    assert_true(len >= 1 && len <= d->room);
    memcpy(d->got + d->len, data, len);
    d->len += len;
    d->room -= len;
    if (len > d->most)
        d->most = len;
}

static void device_writable(void *ctx)
{
    ((struct device *)ctx)->writable++;
}

static struct device *device_new(struct chr *c, size_t room)
{
    struct device *d = test_calloc(1, sizeof *d);
    d->room = room;
    chr_set_receiver(c, device_room, device_receive, d);
    chr_set_writable(c, device_writable, d);
    return d;
}

/* Runs the loop until nothing happens any more. */
static void settle(void)
{
    for (int i = 0; i < 200; i++)
        loop_run_once(loop, 0);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    return loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void a_spec_is_checked(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(chr_check("none", &err), 0);
    assert_int_equal(chr_check("stdio", &err), 0);
    assert_int_equal(chr_check("pty", &err), 0);
    assert_int_equal(chr_check("file:x", &err), 0);
    static const char *const bad[] = {"", "nothing", "file", "file:", "stdio:x", "memory", "pty:"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.msg[0] = 0;
        assert_int_equal(chr_check(bad[i], &err), -EINVAL);
        assert_true(err.msg[0] != 0);
        assert_null(chr_open(bad[i], loop, &err));
    }
    chr_check("tty", &err);
    assert_string_equal(err.msg,
                        "'tty' is not a console; use stdio, none, pty, file:PATH or unix:PATH");
}

static void none_takes_everything(void **state)
{
    (void)state;
    static const char big[CHR_OUT_SIZE * 2];
    struct chr *c = chr_open("none", loop, NULL);
    assert_int_equal(chr_write(c, big, sizeof big), sizeof big);
    chr_write_wait(c, big, sizeof big);
    assert_int_equal(chr_flush(c, 0), 0);
    chr_free(c);
    chr_free(NULL);
}

static void memory_refuses_when_full_and_tells_when_there_is_room(void **state)
{
    (void)state;
    static char big[CHR_OUT_SIZE + 10], back[CHR_OUT_SIZE];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i % 251);
    struct chr *c = chr_memory_new(loop, NULL);
    struct device *d = device_new(c, 0);
    assert_int_equal(chr_write(c, big, 10), 10);
    settle();
    assert_int_equal(d->writable, 0);
    assert_int_equal(chr_write(c, big + 10, sizeof big - 10), CHR_OUT_SIZE - 10);
    settle();
    assert_int_equal(d->writable, 0);
    assert_int_equal(chr_memory_take(c, back, 3), 3);
    settle();
    assert_int_equal(d->writable, 1);
    assert_int_equal(chr_write(c, big + CHR_OUT_SIZE, 10), 3);
    assert_int_equal(chr_memory_take(c, back, sizeof back), CHR_OUT_SIZE);
    assert_memory_equal(back, big + 3, CHR_OUT_SIZE);
    assert_int_equal(chr_memory_take(c, back, sizeof back), 0);
    chr_free(c);
    test_free(d);
}

static void input_is_given_as_the_device_has_room(void **state)
{
    (void)state;
    struct chr *c = chr_memory_new(loop, NULL);
    assert_true(chr_memory_input(c, "hello", 5));
    settle(); /* nobody is there: it waits */
    struct device *d = device_new(c, 2);
    settle();
    assert_int_equal(d->len, 2);
    assert_true(chr_memory_input(c, " world", 6));
    settle();
    assert_int_equal(d->len, 2);
    d->room = 3;
    chr_accept_input(c);
    settle();
    assert_int_equal(d->len, 5);
    d->room = 100;
    chr_accept_input(c);
    settle();
    assert_memory_equal(d->got, "hello world", 11);
    static const char big[CHR_IN_SIZE + 1];
    assert_false(chr_memory_input(c, big, sizeof big));
    assert_true(chr_memory_input(c, big, sizeof big - 1));
    assert_false(chr_memory_input(c, big, 1));
    chr_set_receiver(c, NULL, NULL, NULL);
    size_t before = d->len;
    d->room = sizeof d->got - d->len;
    settle();
    assert_int_equal(d->len, before);
    chr_set_receiver(c, device_room, device_receive, d);
    settle();
    assert_int_equal(d->len, 11 + CHR_IN_SIZE);
    chr_free(c);
    test_free(d);
}

static char *file_text(const char *path, size_t *len)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = malloc(1 << 20);
    *len = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

static void a_file_gets_the_output_in_order(void **state)
{
    (void)state;
    char path[] = "/tmp/guise-chr-XXXXXX", spec[64], line[32];
    close(mkstemp(path));
    snprintf(spec, sizeof spec, "file:%s", path);
    struct chr *c = chr_open(spec, loop, NULL);
    assert_non_null(c);
    assert_string_equal(chr_path(c), path);
    /* More than the buffer, with and without the loop running. */
    for (int i = 0; i < 20000; i++) {
        snprintf(line, sizeof line, "%08d\n", i);
        if (i % 1000 == 0)
            settle();
        chr_write_wait(c, line, 9);
    }
    chr_free(c);
    size_t len;
    char *text = file_text(path, &len);
    assert_int_equal(len, 20000 * 9);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(atoi(text + i * 9), i);
    free(text);
    unlink(path);
}

static void a_file_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    struct error err = {0};
    assert_null(chr_open("file:/nonexistent/x", loop, &err));
    assert_int_equal(err.code, ENOENT);
    assert_string_equal(err.msg, "/nonexistent/x: cannot write console output there: "
                                 "No such file or directory");
    assert_null(chr_open("file:/tmp", loop, &err));
    assert_int_equal(err.code, EISDIR);
    char fifo[] = "/tmp/guise-fifo-XXXXXX", spec[64];
    close(mkstemp(fifo));
    unlink(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(spec, sizeof spec, "file:%s", fifo);
    assert_null(chr_open(spec, loop, &err));
    assert_non_null(strstr(err.msg, "nobody reads from it"));
    unlink(fifo);
}

static void a_full_disk_loses_output_but_not_the_guest(void **state)
{
    (void)state;
    struct chr *c = chr_open("file:/dev/full", loop, NULL);
    assert_non_null(c);
    static const char big[CHR_OUT_SIZE];
    assert_int_equal(chr_error(c), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(chr_write(c, big, sizeof big), sizeof big);
        settle();
    }
    assert_int_equal(chr_error(c), -ENOSPC);
    assert_int_equal(chr_flush(c, 100), -ENOSPC);
    chr_write_wait(c, big, sizeof big);
    chr_write_wait(c, big, sizeof big);
    chr_free(c);
}

/* A FIFO whose reader is slow: chr_write refuses, chr_write_wait waits, nothing is lost. */
static void *slow_reader(void *ctx)
{
    static char buf[1 << 20];
    int fd = *(int *)ctx;
    size_t len = 0;
    ssize_t n;
    usleep(50000);
    while ((n = read(fd, buf + len, sizeof buf - len)) > 0)
        len += (size_t)n;
    close(fd);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)buf[i] != i % 251)
            return "differs";
    return len == 400000 ? NULL : "length";
}

static void a_slow_reader_gets_everything(void **state)
{
    (void)state;
    char fifo[] = "/tmp/guise-fifo-XXXXXX", spec[64];
    close(mkstemp(fifo));
    unlink(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDONLY | O_NONBLOCK);
    fcntl(fd, F_SETFL, 0);
    snprintf(spec, sizeof spec, "file:%s", fifo);
    struct chr *c = chr_open(spec, loop, NULL);
    assert_non_null(c);
    static char data[400000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i % 251);
    struct device *d = device_new(c, 0);

    size_t done = 0, n;
    while ((n = chr_write(c, data + done, sizeof data - done))) {
        done += n;
        settle();
    }
    /* Pipe and buffer are full: 64 KiB each. */
    assert_true(done >= CHR_OUT_SIZE && done < sizeof data);
    assert_int_equal(chr_flush(c, 1), -ETIMEDOUT);
    int before = d->writable;

    pthread_t t;
    void *result;
    assert_int_equal(pthread_create(&t, NULL, slow_reader, &fd), 0);
    while (d->writable == before)
        loop_run_once(loop, 1000);
    chr_write_wait(c, data + done, sizeof data - done);
    chr_free(c);
    pthread_join(t, &result);
    if (result)
        fail_msg("%s", (char *)result);
    unlink(fifo);
    test_free(d);
}

/* Runs the loop until fd is readable, then reads up to size bytes. */
static size_t pty_read(int fd, char *buf, size_t size)
{
    size_t len = 0;
    for (int i = 0; i < 100 && len < size; i++) {
        loop_run_once(loop, 20);
        ssize_t n = read(fd, buf + len, size - len);
        if (n > 0)
            len += (size_t)n;
    }
    return len;
}

/* A pseudo-terminal; skips the test where the host has none (a bare chroot). */
static struct chr *pty_open(void)
{
    struct error err = {0};
    struct chr *c = chr_open("pty", loop, &err);
    if (!c && access("/dev/pts/ptmx", F_OK)) {
        printf("skipped: %s; is /dev/pts mounted?\n", err.msg);
        skip();
    }
    assert_non_null(c);
    return c;
}

static void a_pty_keeps_the_last_output_and_survives_hang_ups(void **state)
{
    (void)state;
    static char big[CHR_OUT_SIZE], back[CHR_OUT_SIZE + 16];
    struct chr *c = pty_open();
    struct device *d = device_new(c, 1000);
    /* Nobody is there: everything is taken, the newest is kept. */
    memset(big, 'x', sizeof big);
    assert_int_equal(chr_write(c, "old", 3), 3);
    assert_int_equal(chr_write(c, big, sizeof big), sizeof big);
    assert_int_equal(chr_write(c, "\nnew", 4), 4);
    chr_write_wait(c, "!\n", 2);
    settle();
    assert_int_equal(chr_flush(c, 0), 0);

    int user = open(chr_path(c), O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(user >= 0);
    assert_int_equal(pty_read(user, back, CHR_OUT_SIZE), CHR_OUT_SIZE);
    assert_int_equal(back[0], 'x');
    assert_memory_equal(back + CHR_OUT_SIZE - 6, "\nnew!\n", 6);
    /* Raw: no echo, no line discipline, all bytes pass both ways. */
    assert_int_equal(write(user, "\x03ls\r\x04", 5), 5);
    for (int i = 0; i < 50 && d->len < 5; i++)
        loop_run_once(loop, 20);
    assert_memory_equal(d->got, "\x03ls\r\x04", 5);
    assert_int_equal(chr_write(c, "a\nb", 3), 3);
    assert_int_equal(pty_read(user, back, 3), 3);
    assert_memory_equal(back, "a\nb", 3);

    close(user);
    for (int i = 0; i < 3; i++)
        loop_run_once(loop, 20);
    assert_int_equal(chr_write(c, "gone", 4), 4);
    user = open(chr_path(c), O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_int_equal(pty_read(user, back, 4), 4);
    assert_memory_equal(back, "gone", 4);
    assert_int_equal(write(user, "x", 1), 1);
    for (int i = 0; i < 50 && d->len < 6; i++)
        loop_run_once(loop, 20);
    assert_int_equal(d->len, 6);
    close(user);
    chr_free(c);
    test_free(d);
}

static void a_pty_without_a_user_does_not_spin(void **state)
{
    (void)state;
    struct chr *c = pty_open();
    settle();
    uint64_t end = loop_now_ns() + 500000000;
    int rounds = 0;
    while (loop_now_ns() < end) {
        loop_run_once(loop, 100);
        rounds++;
    }
    assert_true(rounds < 15);
    chr_free(c);
}

/* ---- a socket ---- */

struct host {
    char dir[32], path[48];
    struct chr *c;
    struct device *d;
    int there; /* as the device was told last; -1: never */
};

static void host_peer(void *ctx, bool there)
{
    ((struct host *)ctx)->there = there;
}

static void host_open(struct host *h)
{
    char spec[64];
    *h = (struct host){.dir = "/tmp/guise-chr-XXXXXX", .there = -1};
    assert_non_null(mkdtemp(h->dir));
    snprintf(h->path, sizeof h->path, "%s/s", h->dir);
    snprintf(spec, sizeof spec, "unix:%s", h->path);
    h->c = chr_open(spec, loop, NULL);
    assert_non_null(h->c);
    h->d = device_new(h->c, 100000);
    chr_set_peer(h->c, host_peer, h);
}

static void host_close(struct host *h)
{
    chr_remove(h->c);
    chr_free(h->c);
    assert_int_equal(access(h->path, F_OK), -1);
    rmdir(h->dir);
    test_free(h->d);
}

static int client(const struct host *h)
{
    int fd = local_connect(h->path);
    assert_true(fd >= 0);
    return fd;
}

/* Until the device has been told. */
static void host_wait(struct host *h, int there)
{
    for (int i = 0; i < 500 && h->there != there; i++)
        loop_run_once(loop, 10);
    assert_int_equal(h->there, there);
}

static void a_socket_has_one_client_at_a_time(void **state)
{
    (void)state;
    struct host h;
    char buf[16];
    host_open(&h);
    assert_false(chr_peer(h.c));
    assert_int_equal(chr_write(h.c, "nobody", 6), 6);
    int first = client(&h), second = client(&h);
    host_wait(&h, 1);
    assert_true(chr_peer(h.c));
    assert_int_equal(send(second, "two", 3, 0), 3);
    assert_int_equal(send(first, "one", 3, 0), 3);
    assert_int_equal(chr_write(h.c, "for one", 7), 7);
    settle();
    assert_int_equal(h.d->len, 3);
    assert_memory_equal(h.d->got, "one", 3);
    assert_int_equal(read(first, buf, sizeof buf), 7);
    assert_memory_equal(buf, "for one", 7);
    close(first);
    host_wait(&h, 0);
    host_wait(&h, 1);
    settle();
    assert_memory_equal(h.d->got, "onetwo", 6);
    assert_int_equal(read(second, buf, sizeof buf), -1);
    close(second);
    host_wait(&h, 0);
    assert_int_equal(chr_error(h.c), 0);
    host_close(&h);
}

/* What a client wrote before it left still comes, and who ends his writing can still read. */
static void a_client_that_has_said_all(void **state)
{
    (void)state;
    struct host h;
    char buf[16];
    host_open(&h);
    h.d->room = 0;
    int fd = client(&h);
    assert_int_equal(send(fd, "question", 8, 0), 8);
    shutdown(fd, SHUT_WR);
    host_wait(&h, 1);
    for (int i = 0; i < 20; i++)
        loop_run_once(loop, 5);
    assert_int_equal(h.there, 1);
    h.d->room = 1000;
    chr_accept_input(h.c);
    chr_write(h.c, "answer", 6);
    settle();
    assert_memory_equal(h.d->got, "question", 8);
    assert_int_equal(read(fd, buf, sizeof buf), 6);
    close(fd);
    host_wait(&h, 0);
    host_close(&h);
}

/* Where nobody in the guest listens, it is not kept for who comes next. */
static void a_client_that_nobody_heard(void **state)
{
    (void)state;
    struct host h;
    static char much[CHR_IN_SIZE + 5000];
    host_open(&h);
    h.d->room = 0;
    chr_set_heard(h.c, false);
    for (unsigned round = 0; round < 2; round++) {
        int fd = client(&h);
        size_t len = round ? sizeof much : 5;
        assert_int_equal(send(fd, much, len, 0), len);
        host_wait(&h, 1);
        settle();
        close(fd);
        host_wait(&h, 0);
    }
    int fd = client(&h);
    host_wait(&h, 1);
    h.d->room = 1000;
    chr_set_heard(h.c, true);
    chr_accept_input(h.c);
    settle();
    assert_int_equal(h.d->len, 0);
    close(fd);
    host_wait(&h, 0);
    host_close(&h);
}

/* Output waits for a client that does not read, and goes when it goes. */
static void a_client_that_does_not_read(void **state)
{
    (void)state;
    struct host h;
    static const char data[65536];
    host_open(&h);
    int fd = client(&h);
    host_wait(&h, 1);
    size_t n;
    while ((n = chr_write(h.c, data, sizeof data)))
        settle();
    int before = h.d->writable;
    settle();
    assert_int_equal(h.d->writable, before);
    close(fd);
    host_wait(&h, 0);
    settle();
    assert_int_equal(h.d->writable, before + 1);
    assert_int_equal(chr_write(h.c, data, sizeof data), sizeof data);
    host_close(&h);
}

static void a_socket_that_is_taken(void **state)
{
    (void)state;
    struct host h;
    struct error err = {0};
    char spec[64];
    host_open(&h);
    snprintf(spec, sizeof spec, "unix:%s", h.path);
    assert_null(chr_open(spec, loop, &err));
    assert_int_equal(err.code, EADDRINUSE);
    /* One that was left is replaced. */
    chr_free(h.c);
    assert_int_equal(access(h.path, F_OK), 0);
    h.c = chr_open(spec, loop, &err);
    assert_non_null(h.c);
    host_close(&h);
}

static void ports_are_checked(void **state)
{
    (void)state;
    char name[CHR_PORT_NAME_MAX + 1];
    struct error err = {0};
    assert_int_equal(chr_port_check("unix:a,b,name=org.x-1_2", name, &err), 0);
    assert_string_equal(name, "org.x-1_2");
    assert_int_equal(chr_port_check("file:x,name=a", name, &err), 0);
    static const char *const bad[] = {
        "",
        "unix:x",
        "unix:x,name=",
        "unix:x,name=.a",
        "unix:x,name=a/b",
        "unix:,name=a",
        "pty,name=a",
        "unix:x,name=a,more",
        "unix:x,name=a23456789012345678901234567890123456789012345678901234567890123x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.msg[0] = 0;
        assert_int_equal(chr_port_check(bad[i], name, &err), -EINVAL);
        assert_true(err.msg[0] != 0);
        assert_null(chr_port_open(bad[i], name, loop, &err));
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_spec_is_checked),
        T(none_takes_everything),
        T(memory_refuses_when_full_and_tells_when_there_is_room),
        T(input_is_given_as_the_device_has_room),
        T(a_file_gets_the_output_in_order),
        T(a_file_that_cannot_be_written_is_an_error),
        T(a_full_disk_loses_output_but_not_the_guest),
        T(a_slow_reader_gets_everything),
        T(a_pty_keeps_the_last_output_and_survives_hang_ups),
        T(a_pty_without_a_user_does_not_spin),
        T(a_socket_has_one_client_at_a_time),
        T(a_client_that_has_said_all),
        T(a_client_that_nobody_heard),
        T(a_client_that_does_not_read),
        T(a_socket_that_is_taken),
        T(ports_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
