/*
 * The stdio back end on a pseudo-terminal: a child has the terminal as its standard input and
 * output, the test is the person (and the shell) at the other end.
 */
#include "base/loop.h"
#include "chr/chr.h"
#include "chr/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <cmocka.h>

/* ---- the child: a guest that prints what it gets in angle brackets ---- */

struct child {
    struct loop *loop;
    struct chr *chr;
    size_t room;
};

static size_t child_room(void *ctx)
{
    return ((struct child *)ctx)->room;
}

static void child_receive(void *ctx, const uint8_t *data, size_t len)
{
    struct child *child = ctx;
    char text[16];
    for (size_t i = 0; i < len; i++) {
        int n = snprintf(text, sizeof text, "<%02x>", data[i]);
        chr_write(child->chr, text, (size_t)n);
        if (data[i] == 'S')
            abort();
    }
}

static void child_quit(void *ctx)
{
    loop_stop(((struct child *)ctx)->loop);
}

static void child_run(size_t room)
{
    struct child child = {.loop = loop_new(NULL), .room = room};
    struct error err;
    terminal_catch_signals();
    child.chr = chr_open("stdio", child.loop, &err);
    if (!child.chr)
        _exit(3);
    if (isatty(0) && (chr_open("stdio", child.loop, &err) || err.code != EBUSY))
        _exit(4);
    chr_set_receiver(child.chr, child_room, child_receive, &child);
    chr_set_quit(child.chr, child_quit, &child);
    chr_write(child.chr, "ready\n", 6);
    loop_run(child.loop);
    chr_write(child.chr, "bye\n", 4);
    chr_free(child.chr);
    loop_free(child.loop);
    _exit(0);
}

/* ---- the parent ---- */

struct term {
    int fd;
    pid_t pid;
    struct termios before;
    char out[65536];
    size_t len;
};

/* Reads until `text` has come, at most five seconds. */
static void expect(struct term *t, const char *text)
{
    for (int i = 0; i < 500; i++) {
        t->out[t->len] = 0;
        if (strstr(t->out, text))
            return;
        struct pollfd p = {.fd = t->fd, .events = POLLIN};
        if (poll(&p, 1, 10) <= 0)
            continue;
        ssize_t n = read(t->fd, t->out + t->len, sizeof t->out - t->len - 1);
        if (n > 0)
            t->len += (size_t)n;
    }
    fail_msg("no '%s' in '%s'", text, t->out);
}

static void type(struct term *t, const char *keys)
{
    assert_int_equal(write(t->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static void modes(struct term *t, struct termios *tio)
{
    assert_int_equal(tcgetattr(t->fd, tio), 0);
}

static void assert_raw(struct term *t)
{
    struct termios tio;
    modes(t, &tio);
    assert_int_equal(tio.c_lflag & (ECHO | ICANON | ISIG | IEXTEN), 0);
    assert_int_equal(tio.c_iflag & (ICRNL | IXON | BRKINT | ISTRIP), 0);
    assert_int_equal(tio.c_oflag & OPOST, OPOST);
}

static bool same_modes(struct term *t)
{
    struct termios now;
    modes(t, &now);
    return now.c_iflag == t->before.c_iflag && now.c_oflag == t->before.c_oflag &&
           now.c_lflag == t->before.c_lflag && now.c_cflag == t->before.c_cflag &&
           !memcmp(now.c_cc, t->before.c_cc, sizeof now.c_cc);
}

/* Waits until the modes are the old ones (or not), at most five seconds. */
static void wait_modes(struct term *t, bool old)
{
    for (int i = 0; i < 500 && same_modes(t) != old; i++)
        usleep(10000);
    assert_int_equal(same_modes(t), old);
}

static struct term *term_start(size_t room)
{
    struct term *t = test_calloc(1, sizeof *t);
    int user;
    assert_int_equal(openpty(&t->fd, &user, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(user, &t->before), 0);
    assert_true(t->before.c_lflag & ECHO);
    t->pid = fork();
    if (!t->pid) {
        /* A shell's job in the background ignores SIGINT. */
        for (int sig = 1; sig < 32; sig++)
            signal(sig, SIG_DFL);
        close(t->fd);
        login_tty(user);
        child_run(room);
    }
    close(user);
    expect(t, "ready");
    return t;
}

/* Takes the exit status. */
static int term_end(struct term *t)
{
    int status = -1;
    for (int i = 0; i < 500 && waitpid(t->pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    if (status == -1)
        kill(t->pid, SIGKILL);
    return status;
}

static void term_free(struct term *t)
{
    close(t->fd);
    test_free(t);
}

static void keys_reach_the_guest_raw_and_escapes_do_not(void **state)
{
    (void)state;
    struct term *t = term_start(1000);
    assert_raw(t);
    type(t, "a\r\x03\x1a\x13\x04");
    expect(t, "<61><0d><03><1a><13><04>");
    type(t, "\x01\x01");
    expect(t, "<04><01>");
    type(t, "\x01");
    usleep(20000); /* the escape may come in two reads */
    type(t, "a");
    expect(t, "<01><01>");
    type(t, "\x01hb");
    expect(t, "Ctrl-A x ");
    expect(t, "<62>");
    type(t, "\x01qc"); /* not a command: dropped */
    expect(t, "<62><63>");
    type(t, "\x01x");
    expect(t, "bye");
    assert_int_equal(term_end(t), 0);
    assert_true(same_modes(t));
    term_free(t);
}

static void ctrl_a_x_works_when_the_guest_does_not_read(void **state)
{
    (void)state;
    struct term *t = term_start(0);
    char keys[1000];
    memset(keys, 'k', sizeof keys);
    for (int i = 0; i < 40; i++) { /* more than CHR_IN_SIZE, slower than the line's buffer */
        assert_int_equal(write(t->fd, keys, sizeof keys), sizeof keys);
        usleep(2000);
    }
    type(t, "\x01x");
    expect(t, "bye");
    assert_int_equal(term_end(t), 0);
    assert_true(same_modes(t));
    term_free(t);
}

static void the_modes_come_back_on(int sig)
{
    struct term *t = term_start(1000);
    assert_raw(t);
    kill(t->pid, sig);
    int status = term_end(t);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), sig);
    assert_true(same_modes(t));
    term_free(t);
}

static void the_modes_come_back_when_a_signal_ends_it(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSEGV, SIGBUS, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        the_modes_come_back_on(signals[i]);
}

static void the_modes_come_back_when_it_aborts(void **state)
{
    (void)state;
    struct term *t = term_start(1000);
    type(t, "S");
    int status = term_end(t);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(same_modes(t));
    term_free(t);
}

static void stop_and_continue_change_the_modes(void **state)
{
    (void)state;
    struct term *t = term_start(1000);
    int status;
    for (int round = 0; round < 2; round++) {
        /* The child leads an orphaned process group, where only SIGSTOP stops. */
        kill(t->pid, SIGTSTP);
        wait_modes(t, false);
        kill(t->pid, SIGSTOP);
        assert_int_equal(waitpid(t->pid, &status, WUNTRACED), t->pid);
        assert_true(WIFSTOPPED(status));
        assert_int_equal(tcsetattr(t->fd, TCSANOW, &t->before), 0); /* as a shell does */
        kill(t->pid, SIGCONT);
        wait_modes(t, false);
        assert_raw(t);
    }
    type(t, "z");
    expect(t, "<7a>");
    type(t, "\x01x");
    assert_int_equal(term_end(t), 0);
    assert_true(same_modes(t));
    term_free(t);
}

/* In a process group that a session leader looks after, SIGTSTP stops. */
static void a_stop_restores_the_modes(void **state)
{
    (void)state;
    struct term *t = test_calloc(1, sizeof *t);
    int user, up[2];
    assert_int_equal(openpty(&t->fd, &user, NULL, NULL, NULL) | pipe(up), 0);
    assert_int_equal(tcgetattr(user, &t->before), 0);
    t->pid = fork();
    if (!t->pid) { /* the shell */
        login_tty(user);
        signal(SIGTTOU, SIG_IGN);
        pid_t job = fork();
        if (!job) {
            setpgid(0, 0);
            tcsetpgrp(0, getpid());
            signal(SIGTTOU, SIG_DFL);
            child_run(1000);
        }
        int status = 0;
        if (write(up[1], &job, sizeof job) != sizeof job ||
            waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status))
            _exit(1);
        tcsetpgrp(0, getpid());
        tcflush(0, TCIFLUSH);
        char go;
        printf("stopped\n");
        fflush(stdout);
        if (read(0, &go, 1) != 1)
            _exit(1);
        tcsetpgrp(0, job);
        kill(job, SIGCONT);
        if (waitpid(job, &status, 0) != job)
            _exit(1);
        _exit(status ? 2 : 0);
    }
    pid_t job;
    assert_int_equal(read(up[0], &job, sizeof job), sizeof job);
    expect(t, "ready");
    assert_raw(t);
    kill(job, SIGTSTP);
    expect(t, "stopped");
    assert_true(same_modes(t));
    type(t, "\n");
    wait_modes(t, false);
    assert_raw(t);
    type(t, "y\x01x");
    expect(t, "<79>");
    expect(t, "bye");
    assert_int_equal(term_end(t), 0);
    assert_true(same_modes(t));
    close(user), close(up[0]), close(up[1]);
    term_free(t);
}

/* Standard input and output that are no terminal. */
static int run_with(int in, int out, size_t room)
{
    pid_t pid = fork();
    if (!pid) {
        dup2(in, 0);
        dup2(out, 1);
        child_run(room);
    }
    usleep(200000);
    kill(pid, SIGCONT);
    int status = 0;
    pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended != pid) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return -1;
    }
    return status;
}

static void pipes_and_files_work_too(void **state)
{
    (void)state;
    int in[2], out[2];
    char buf[65536];
    assert_int_equal(pipe(in) | pipe(out), 0);
    assert_int_equal(write(in[1], "ab\x01x", 4), 4);
    assert_int_equal(run_with(in[0], out[1], 100), 0);
    ssize_t n = read(out[0], buf, sizeof buf);
    assert_int_equal(n, 18);
    assert_memory_equal(buf, "ready\n<61><62>bye\n", 18);
    /* The flags of what is shared with others have not changed. */
    assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);

    /* The end of input is just that, for a pipe, /dev/null and a file. */
    close(in[1]);
    assert_int_equal(run_with(in[0], out[1], 100), -1);
    assert_int_equal(read(out[0], buf, sizeof buf), 6);
    int null = open("/dev/null", O_RDWR);
    assert_int_equal(run_with(null, out[1], 100), -1);
    assert_int_equal(read(out[0], buf, sizeof buf), 6);
    assert_int_equal(run_with(null, null, 100), -1);

    FILE *f = tmpfile();
    for (int i = 0; i < 1000; i++)
        fprintf(f, "%04d\n", i);
    fputs("\x01x", f);
    fflush(f);
    lseek(fileno(f), 0, SEEK_SET);
    FILE *g = tmpfile();
    assert_int_equal(run_with(fileno(f), fileno(g), 100000), 0);
    assert_int_equal(lseek(fileno(g), 0, SEEK_END), 6 + 5000 * 4 + 4);
    fclose(f);
    fclose(g);
    close(in[0]), close(out[0]), close(out[1]), close(null);
}

int main(void)
{
    int fd[2];
    if (openpty(&fd[0], &fd[1], NULL, NULL, NULL)) {
        puts("skipped: this host has no pseudo-terminals; is /dev/pts mounted?");
        return 77;
    }
    close(fd[0]), close(fd[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_reach_the_guest_raw_and_escapes_do_not),
        cmocka_unit_test(ctrl_a_x_works_when_the_guest_does_not_read),
        cmocka_unit_test(the_modes_come_back_when_a_signal_ends_it),
        cmocka_unit_test(the_modes_come_back_when_it_aborts),
        cmocka_unit_test(stop_and_continue_change_the_modes),
        cmocka_unit_test(a_stop_restores_the_modes),
        cmocka_unit_test(pipes_and_files_work_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
