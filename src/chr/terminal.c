#include "chr/terminal.h"

#include "base/bits.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/*
 * `held` is set after the rest is filled in and before raw mode starts, so that a handler that sees
 * it finds valid modes. `claimed` keeps a second caller out meanwhile.
 */
static struct {
    atomic_bool claimed, held;
    int fd;
    struct termios saved, raw;
} terminal;

_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "a signal handler reads the flags");

int terminal_raw(int fd, struct error *err)
{
    if (atomic_exchange(&terminal.claimed, true))
        return error_set(err, EBUSY, "the terminal is in use by another console already");
    if (tcgetattr(fd, &terminal.saved)) {
        int code = errno;
        atomic_store(&terminal.claimed, false);
        return error_set(err, code, "cannot read the terminal's modes: %s", strerror(code));
    }
    terminal.fd = fd;
    terminal.raw = terminal.saved;
    cfmakeraw(&terminal.raw);
    /* Messages of guise end their lines with \n alone. */
    terminal.raw.c_oflag |= terminal.saved.c_oflag & OPOST;
    atomic_store(&terminal.held, true);
    if (tcsetattr(fd, TCSANOW, &terminal.raw)) {
        int code = errno;
        terminal_release();
        return error_set(err, code, "cannot set the terminal to raw mode: %s", strerror(code));
    }
    return 0;
}

static void terminal_set(const struct termios *modes)
{
    int saved_errno = errno;
    /* A shell has put another job in front: the modes are that job's now. */
    pid_t front = tcgetpgrp(terminal.fd);
    if (front < 0 || front == getpgrp())
        tcsetattr(terminal.fd, TCSANOW, modes);
    errno = saved_errno;
}

void terminal_release(void)
{
    if (!atomic_load(&terminal.held))
        return;
    terminal_set(&terminal.saved);
    atomic_store(&terminal.held, false);
    atomic_store(&terminal.claimed, false);
}

void terminal_restore(void)
{
    if (atomic_load(&terminal.held))
        terminal_set(&terminal.saved);
}

void terminal_resume(void)
{
    if (atomic_load(&terminal.held))
        terminal_set(&terminal.raw);
}

/* ---- signals ---- */

/* SA_RESETHAND has made the action the default; the signal is delivered when this returns. */
static void terminal_on_fatal(int sig)
{
    terminal_restore();
    raise(sig);
}

static void terminal_on_continue(int sig)
{
    (void)sig;
    terminal_resume();
}

static void terminal_on_stop(int sig)
{
    int saved_errno = errno;
    terminal_restore();
    /* Stops with the default action, which knows about orphaned process groups. */
    struct sigaction dfl = {.sa_handler = SIG_DFL}, old;
    sigset_t set, old_set;
    sigaction(sig, &dfl, &old);
    raise(sig);
    sigemptyset(&set);
    sigaddset(&set, sig);
    pthread_sigmask(SIG_UNBLOCK, &set, &old_set);
    pthread_sigmask(SIG_SETMASK, &old_set, NULL);
    sigaction(sig, &old, NULL);
    /* Where the default was to go on, no SIGCONT comes. */
    terminal_resume();
    errno = saved_errno;
}

static void terminal_catch(int sig, void (*handler)(int), int flags)
{
    struct sigaction old, sa = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&sa.sa_mask);
    if (!sigaction(sig, NULL, &old) && old.sa_handler != SIG_IGN)
        sigaction(sig, &sa, NULL);
}

void terminal_catch_signals(void)
{
    static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGILL, SIGABRT,
                                SIGBUS, SIGFPE, SIGSEGV, SIGSYS,  SIGXCPU, SIGXFSZ};
    for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++)
        terminal_catch(fatal[i], terminal_on_fatal, (int)SA_RESETHAND);
    terminal_catch(SIGTSTP, terminal_on_stop, SA_RESTART);
    terminal_catch(SIGCONT, terminal_on_continue, SA_RESTART);
}
