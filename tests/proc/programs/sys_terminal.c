/* A pseudo-terminal: modes, sizes, editing, signals from keys, the foreground group. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static int near, far;

static void show(const char *what)
{
    struct termios modes;
    CHECK_IS(tcgetattr(far, &modes), 0);
    printf("%s: %x %x %x %x, erase %d, min %d, speed %x\n", what, modes.c_iflag, modes.c_oflag,
           modes.c_cflag, modes.c_lflag, modes.c_cc[VERASE], modes.c_cc[VMIN], cfgetospeed(&modes));
}

static int waiting(int fd)
{
    struct pollfd wait = {fd, POLLIN, 0};
    return poll(&wait, 1, 100);
}

static void modes(void)
{
    show("at first");
    CHECK(isatty(far) && !isatty(open("/dev/null", O_RDONLY)));
    struct termios raw;
    CHECK_IS(tcgetattr(far, &raw), 0);
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 3;
    raw.c_cc[VTIME] = 1;
    cfsetspeed(&raw, B9600);
    CHECK_IS(tcsetattr(far, TCSADRAIN, &raw), 0);
    show("raw");
    cfsetspeed(&raw, B115200);
    CHECK_IS(tcsetattr(far, TCSAFLUSH, &raw), 0);
    show("fast");
    struct winsize size = {.ws_row = 33, .ws_col = 77}, got = {0};
    CHECK_IS(ioctl(near, TIOCSWINSZ, &size), 0);
    CHECK_IS(ioctl(far, TIOCGWINSZ, &got), 0);
    CHECK(got.ws_row == 33 && got.ws_col == 77);
    CHECK_ERROR(tcgetattr(open("/dev/null", O_RDONLY), &raw), ENOTTY);
    DONE("modes");
}

static void lines(const struct termios *first)
{
    char buffer[100];
    CHECK_IS(tcsetattr(far, TCSANOW, first), 0);
    CHECK_IS(write(near,
                   "abX\x7f"
                   "c",
                   5),
             5);
    CHECK_IS(waiting(far), 0);
    CHECK_IS(write(near, "\r", 1), 1);
    CHECK_IS(waiting(far), 1);
    int n = 0;
    CHECK_IS(ioctl(far, FIONREAD, &n), 0);
    CHECK_IS(n, 4);
    CHECK_IS(read(far, buffer, 100), 4);
    CHECK(!memcmp(buffer, "abc\n", 4));
    ssize_t size = 0;
    while (size == 0 || buffer[size - 1] != '\n') {
        ssize_t more = read(near, buffer + size, (size_t)(100 - size));
        CHECK(more > 0);
        size += more;
    }
    printf("echoed %zd:", size);
    for (ssize_t i = 0; i < size; i++)
        printf(" %d", buffer[i]);
    printf("\n");
    CHECK_IS(write(far, "out\n", 4), 4);
    CHECK_IS(read(near, buffer, 100), 5);
    CHECK(!memcmp(buffer, "out\r\n", 5));
    CHECK_IS(write(near, "\4", 1), 1);
    CHECK_IS(read(far, buffer, 100), 0);
    CHECK_IS(write(near, "lost", 4), 4);
    CHECK_IS(tcflush(far, TCIFLUSH), 0);
    CHECK_IS(tcdrain(near), 0);
    DONE("lines");
}

static volatile sig_atomic_t caught;

static void catch (int number)
{
    caught = number;
}

static void keys(const char *name)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        struct sigaction action = {.sa_handler = catch};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGWINCH, &action, NULL);
        signal(SIGHUP, SIG_IGN);
        setsid();
        int own = open(name, O_RDWR);
        if (own < 0 || tcgetpgrp(own) != getpid() || tcgetsid(own) != getpid())
            _exit(1);
        if (write(own, "R", 1) != 1)
            _exit(2);
        while (caught != SIGINT)
            pause();
        if (write(own, "I", 1) != 1)
            _exit(3);
        while (caught != SIGWINCH)
            pause();
        _exit(ioctl(own, TIOCNOTTY) ? 4 : 9);
    }
    char byte = 0;
    while (byte != 'R')
        CHECK_IS(read(near, &byte, 1), 1);
    usleep(20000);
    CHECK_IS(write(near, "\3", 1), 1);
    while (byte != 'I')
        CHECK_IS(read(near, &byte, 1), 1);
    usleep(20000);
    struct winsize size = {.ws_row = 10, .ws_col = 20};
    CHECK_IS(ioctl(near, TIOCSWINSZ, &size), 0);
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_IS(WEXITSTATUS(status), 9);
    DONE("keys");
}

int main(void)
{
    near = posix_openpt(O_RDWR | O_NOCTTY);
    if (near < 0)
        SKIP("no pseudo-terminals here");
    int number = -1;
    CHECK_IS(grantpt(near) | unlockpt(near), 0);
    CHECK_IS(ioctl(near, TIOCGPTN, &number), 0);
    char name[64], again[64];
    CHECK_IS(ptsname_r(near, name, sizeof(name)), 0);
    CHECK_IS(atoi(strrchr(name, '/') + 1), number);
    far = open(name, O_RDWR | O_NOCTTY);
    CHECK(far >= 0);
    CHECK_IS(ttyname_r(far, again, sizeof(again)), 0);
    CHECK(!strcmp(name, again));
    struct termios first;
    CHECK_IS(tcgetattr(far, &first), 0);
    modes();
    lines(&first);
    keys(name);
    int master, slave;
    CHECK_IS(openpty(&master, &slave, NULL, &first, NULL), 0);
    CHECK_IS(close(slave), 0);
    char byte;
    CHECK_ERROR(read(master, &byte, 1), EIO);
    return 0;
}
