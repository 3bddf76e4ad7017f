/*
 * The terminal's modes, which outlive a process that forgets to put them back.
 *
 * This is the one piece of process-wide state below the command line: a signal handler gets no
 * argument, and must find the modes to restore when the process is killed. It is one saved
 * `struct termios`, set while a terminal is in raw mode, so only one character back end of a
 * process can hold a terminal at a time.
 *
 * terminal_restore and terminal_resume are async-signal-safe and keep errno. They leave a terminal
 * alone that belongs to another foreground job.
 */
#pragma once

#include "base/error.h"

/*
 * Puts the terminal behind fd into raw mode (no echo, no signals from keys; output processing stays
 * on) and remembers its modes. EBUSY when one is held already.
 */
int terminal_raw(int fd, struct error *err);

/* Puts the remembered modes back and forgets them. Does nothing if none are remembered. */
void terminal_release(void);

/* For signal handlers: puts the modes back but remembers that raw mode is wanted. */
void terminal_restore(void);
/* For a SIGCONT handler: raw mode again if it is wanted. */
void terminal_resume(void);

/*
 * For a program's main(), never for a library: handlers which restore the terminal when a signal
 * ends the process (HUP, INT, QUIT, TERM, PIPE, and the fatal ones ILL, ABRT, BUS, FPE, SEGV, SYS,
 * XCPU, XFSZ) and then let the signal do what it does by default, and which restore it over a stop
 * (TSTP) and set it again (CONT). A signal that is ignored stays ignored. A handler installed later
 * for one of these must call terminal_restore itself.
 */
void terminal_catch_signals(void);
