/* The debugger's server over real sockets, with a client of the test's and with gdb itself. */
#include "base/loop.h"
#include "gdb_fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;
static struct fake fake;
static struct gdbstub *stub;

static void stopped(void *ctx, unsigned hart, const struct gdb_stop *stop)
{
    (void)ctx;
    gdbstub_stopped(stub, hart, stop);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    fake_init(&fake, 2);
    fake.stopped = stopped;
    return loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    gdbstub_free(stub);
    stub = NULL;
    loop_free(loop);
    return 0;
}

static void start(const char *where)
{
    struct error err = {0};
    stub = gdbstub_new(where, loop, &fake_ops, &fake, &err);
    if (!stub)
        fail_msg("%s", err.msg);
}

static void settle(void)
{
    for (int i = 0; i < 50; i++)
        loop_run_once(loop, 1);
}

static int tcp_client(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)gdbstub_port(stub))};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void expect(int fd, const char *text)
{
    char buf[8192];
    size_t len = 0, want = strlen(text);
    for (int i = 0; i < 500 && len < want; i++) {
        loop_run_once(loop, 10);
        ssize_t n = recv(fd, buf + len, want - len, MSG_DONTWAIT);
        if (n > 0)
            len += (size_t)n;
    }
    buf[len] = 0;
    assert_string_equal(buf, text);
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Sends data as a packet. */
static void packet(int fd, const char *data)
{
    char buf[256];
    unsigned sum = 0;
    for (const char *p = data; *p; p++)
        sum += (unsigned char)*p;
    snprintf(buf, sizeof buf, "$%s#%02x", data, sum & 0xff);
    put(fd, buf);
}

static bool closed(int fd)
{
    char c;
    for (int i = 0; i < 100; i++) {
        loop_run_once(loop, 10);
        ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
    }
    return false;
}

static void one_client_at_a_time_and_detach_by_closing(void **state)
{
    (void)state;
    start("0");
    assert_true(gdbstub_port(stub) != 0);
    assert_false(gdbstub_attached(stub));
    int fd = tcp_client();
    put(fd, "$qC#b4");
    expect(fd, "+$QC1#c5");
    assert_true(gdbstub_attached(stub) && !fake.running);
    int second = tcp_client();
    assert_true(closed(second));
    put(fd, "+$qC#");
    loop_run_once(loop, 10);
    put(fd, "b4$qC#b4"); /* in pieces, two at once */
    expect(fd, "+$QC1#c5+$QC1#c5");
    packet(fd, "Z0,80000004,4");
    expect(fd, "+$OK#9a");
    packet(fd, "vCont;c");
    expect(fd, "+");
    assert_true(fake.running);
    fake_run(&fake, 5);
    expect(fd, "$T05thread:1;#d7");
    close(fd);
    settle();
    assert_false(gdbstub_attached(stub));
    assert_true(fake.running && !fake.break_count && fake.detaches == 1);
    fd = tcp_client(); /* the next one may come */
    put(fd, "$D#44");
    expect(fd, "+$OK#9a");
    assert_true(closed(fd));
    close(fd);
    close(second);
}

static void *stop_from_thread(void *ctx)
{
    (void)ctx;
    static const struct gdb_stop stop = {.why = GDB_STOP_STEP};
    gdbstub_stopped(stub, 1, &stop);
    return NULL;
}

static void stops_come_from_other_threads(void **state)
{
    (void)state;
    start("0");
    int fd = tcp_client();
    pthread_t t;
    for (int i = 0; i < 20; i++) {
        packet(fd, "vCont;s:2");
        expect(fd, "+");
        assert_int_equal(pthread_create(&t, NULL, stop_from_thread, NULL), 0);
        expect(fd, "$T05thread:2;#d8");
        pthread_join(t, NULL);
    }
    /* One that comes together with Ctrl-C is not taken for news of the next run. */
    packet(fd, "vCont;c");
    expect(fd, "+");
    put(fd, "\x03");
    settle();
    expect(fd, "$T02thread:2;#d5");
    stop_from_thread(NULL);
    packet(fd, "vCont;c");
    expect(fd, "+");
    settle();
    assert_true(fake.running);
    gdbstub_exited(stub, 7);
    expect(fd, "$W07#be");
    assert_true(closed(fd));
    close(fd);
}

/* A client that asks for much and reads nothing must not make memory grow or block the loop. */
static void a_client_that_does_not_read(void **state)
{
    (void)state;
    start("0");
    int fd = tcp_client();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    static char flood[90000];
    for (size_t i = 0; i + 18 <= sizeof flood; i += 18)
        memcpy(flood + i, "$m80000000,fff#5a\n", 18);
    size_t sent = 0;
    for (int i = 0; i < 3000; i++) {
        ssize_t n = send(fd, flood, sizeof flood - sizeof flood % 18, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        loop_run_once(loop, 0);
    }
    assert_true(sent < UINT64_C(64) << 20);
    close(fd);
    settle();
    assert_false(gdbstub_attached(stub));
}

static void a_unix_socket_is_private_and_goes_away(void **state)
{
    (void)state;
    char dir[] = "/tmp/guise-gdb-XXXXXX", where[64];
    assert_non_null(mkdtemp(dir));
    snprintf(where, sizeof where, "unix:%s/sock", dir);
    start(where);
    struct stat st;
    assert_int_equal(stat(where + 5, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0077, 0);
    struct error err = {0};
    assert_null(gdbstub_new(where, loop, &fake_ops, &fake, &err));
    assert_int_equal(err.code, EADDRINUSE);
    assert_int_equal(stat(where + 5, &st), 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    strcpy(addr.sun_path, where + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    put(fd, "$qC#b4");
    expect(fd, "+$QC1#c5");
    gdbstub_free(stub);
    stub = NULL;
    assert_true(fake.running);
    assert_int_equal(stat(where + 5, &st), -1);
    close(fd);
    assert_int_equal(rmdir(dir), 0);
}

static void wrong_places_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "x",     "-1", "65536",  "1234x",
                                      "unix", "unix:", "1 ", "999999", "localhost:1"};
    char longest[200] = "unix:/";
    memset(longest + 6, 'x', 150);
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.msg[0] = 0;
        assert_null(gdbstub_new(bad[i], loop, &fake_ops, &fake, &err));
        assert_int_equal(err.code, EINVAL);
        assert_true(err.msg[0] != 0);
    }
    assert_null(gdbstub_new(longest, loop, &fake_ops, &fake, &err));
    assert_int_equal(err.code, EINVAL);
    assert_null(gdbstub_new("unix:/nonexistent/x", loop, &fake_ops, &fake, &err));
    assert_int_equal(err.code, ENOENT);
    start("0");
    char port[8];
    snprintf(port, sizeof port, "%u", gdbstub_port(stub));
    assert_null(gdbstub_new(port, loop, &fake_ops, &fake, &err));
    assert_int_equal(err.code, EADDRINUSE);
}

/* ---- gdb itself ---- */

static const char gdb_script[] = "set confirm off\n"
                                 "set pagination off\n"
                                 "set architecture riscv:rv64\n"
                                 "target remote 127.0.0.1:%u\n"
                                 "info threads\n"
                                 "printf \"pc=%%lx\\n\", $pc\n"
                                 "x/3i $pc\n"
                                 "stepi\n"
                                 "printf \"a0=%%d pc=%%lx\\n\", $a0, $pc\n"
                                 "break *0x80000008\n"
                                 "continue\n"
                                 "printf \"at=%%lx\\n\", $pc\n"
                                 "delete\n"
                                 "set $a0 = 100\n"
                                 "watch *(long *)0x80000800\n"
                                 "continue\n"
                                 "printf \"mem=%%ld\\n\", *(long *)0x80000800\n"
                                 "delete\n"
                                 "thread 2\n"
                                 "printf \"hart=%%d mstatus=%%ld\\n\", $mhartid, $mstatus\n"
                                 "set $mstatus = 5\n"
                                 "printf \"mstatus=%%ld\\n\", $mstatus\n"
                                 "set $ft0 = 1.5\n"
                                 "printf \"ft0=%%.2f\\n\", $ft0\n"
                                 "hbreak *0x80000004\n"
                                 "continue\n"
                                 "printf \"hw=%%lx\\n\", $pc\n"
                                 "set var *(int *)0x80000100 = 0x12345678\n"
                                 "monitor help\n"
                                 "x/wx 0x80000100\n"
                                 "x/wx 0x10\n"
                                 "detach\n"
                                 "quit\n";

static void gdb_itself_debugs_the_target(void **state)
{
    (void)state;
    if (system("gdb-multiarch --version > /dev/null 2>&1")) {
        print_message("gdb-multiarch is missing\n");
        skip();
    }
    start("0");
    fake.hart[1].x[8] += 0x100; /* the watchpoint is for hart 0 */
    FILE *script = tmpfile(), *log = tmpfile();
    fprintf(script, gdb_script, gdbstub_port(stub));
    fflush(script);
    char name[64];
    snprintf(name, sizeof name, "/dev/fd/%d", fileno(script));
    pid_t pid = fork();
    if (!pid) {
        dup2(fileno(log), 1);
        dup2(fileno(log), 2);
        signal(SIGALRM, SIG_DFL);
        alarm(60);
        execlp("gdb-multiarch", "gdb-multiarch", "-nx", "-batch", "-x", name, NULL);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        loop_run_once(loop, 2);
        if (fake.attached)
            fake_run(&fake, 50);
    }
    settle();
    static char text[65536];
    size_t len = (size_t)pread(fileno(log), text, sizeof text - 1, 0);
    text[len] = 0;
    static const char *const expected[] = {
        "(Hart 0)",
        "(Hart 1, waiting)",
        "pc=80000000\n",
        "\ta0,a0,1", /* add, or addi from gdb 16 on */
        "sd\ta0,0(s0)",
        "j\t0x80000000",
        "a0=1 pc=80000004\n",
        "at=80000008\n",
        "mem=101\n",
        "hart=1 mstatus=0\n",
        "mstatus=5\n",
        "ft0=1.50\n",
        "hw=80000004\n",
        "guise has no monitor commands but help.\n",
        "0x80000100:\t0x12345678\n",
        "Cannot access memory at address 0x10\n",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(text, expected[i]))
            fail_msg("gdb does not say '%s' but:\n%s", expected[i], text);
    fclose(script);
    fclose(log);
    assert_true(fake.running && fake.detaches == 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_client_at_a_time_and_detach_by_closing),
        T(stops_come_from_other_threads),
        T(a_client_that_does_not_read),
        T(a_unix_socket_is_private_and_goes_away),
        T(wrong_places_are_refused),
        T(gdb_itself_debugs_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
