/*
 * Byte streams between a guest's character device (serial port, virtio console) and the host: a
 * terminal, a file, a pseudo-terminal. The device side is the same for all; which back end it is
 * comes from the text given to chr_open.
 *
 * Output goes into a buffer of CHR_OUT_SIZE bytes which the event loop's thread writes out in
 * order; nothing that a guest prints can block it or grow memory. Input is pulled: the device gets
 * bytes when it says that it has room, and at most CHR_IN_SIZE are read ahead from the host.
 *
 * Threads: chr_write, chr_write_wait, chr_ask_writable and chr_accept_input may be called from any
 * thread, with a device's lock held; they call nothing back. All other functions belong to the
 * loop's thread (any thread while the loop does not run). The device's callbacks are called on the
 * loop's thread with no lock held, so that they can take the device's own.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chr;
struct loop;

#define CHR_OUT_SIZE 65536u
#define CHR_IN_SIZE 16384u

/*
 * Opens a back end:
 *     none          output is dropped, there is no input
 *     stdio         standard input and output; a terminal is put into raw mode (chr/terminal.h)
 *     stdout        standard output only, there is no input
 *     file:PATH     output only; the file is made or emptied
 *     pty           a new pseudo-terminal; chr_path names it. While nobody has it open the last
 *                   CHR_OUT_SIZE bytes of output are kept for whoever comes
 *     unix:PATH     a socket at PATH for one client at a time; who comes meanwhile waits. Output is
 *                   dropped while nobody is there. chr_remove removes PATH
 * NULL with *err: EINVAL for a text that names none of them, or the host's error. The loop must
 * live longer than the result.
 */
struct chr *chr_open(const char *spec, struct loop *loop, struct error *err);

/*
 * The same checks as chr_open for the text only; opens nothing. For option parsing.
 */
int chr_check(const char *spec, struct error *err);

/* Writes out what is buffered (waiting at most a second), restores the terminal. NULL is allowed.
 */
void chr_free(struct chr *c);

/*
 * Removes the socket at unix:PATH, if it is still this one's, which chr_free does not do: a process
 * may have lost the right to (docs/confinement.md). Nothing for other back ends.
 */
void chr_remove(struct chr *c);

/*
 * Nothing came of what c was opened for: chr_free will remove the file, if chr_open has made it.
 */
void chr_abandon(struct chr *c);

/*
 * Takes up to len bytes for output and returns how many were taken: fewer than len when the buffer
 * is full. Never blocks.
 */
size_t chr_write(struct chr *c, const void *data, size_t len);

/*
 * Takes all bytes, waiting for the host side to take older ones where the buffer is full. For runs
 * that must not depend on the host's speed (deterministic mode) and for messages of guise itself.
 */
void chr_write_wait(struct chr *c, const void *data, size_t len);

/*
 * Makes chr_write take everything as chr_write_wait does, for devices of a machine whose run must
 * not depend on the host's speed. Switching it off also ends a wait on another thread, which then
 * returns what was taken so far. Any thread.
 */
void chr_set_wait(struct chr *c, bool wait);

/* From now on output goes nowhere; what was taken before is still written. */
void chr_set_discard(struct chr *c);

/*
 * Called when chr_write has returned less than it was offered and there is room again. NULL: nobody
 * wants to know (the bytes not taken are lost if the device does not keep them).
 */
void chr_set_writable(struct chr *c, void (*writable)(void *ctx), void *ctx);
/*
 * Asks for that call although nothing was refused here: the device's state comes from a machine
 * where it was. Any thread.
 */
void chr_ask_writable(struct chr *c);

/*
 * Who gets the input. can_receive returns the number of bytes there is room for; receive is then
 * called with 1 to that many. can_receive == NULL: nobody (input stays on the host side).
 */
void chr_set_receiver(struct chr *c, size_t (*can_receive)(void *ctx),
                      void (*receive)(void *ctx, const uint8_t *data, size_t len), void *ctx);

/* Room has appeared after can_receive returned 0: input is offered again. */
void chr_accept_input(struct chr *c);

/*
 * Called when a client comes or goes; NULL: nobody wants to know. chr_peer says whether one is
 * there now, true for what knows no clients. Loop thread.
 */
void chr_set_peer(struct chr *c, void (*peer)(void *ctx, bool there), void *ctx);
bool chr_peer(const struct chr *c);
/*
 * Whether somebody in the guest listens; true at first. What a client has written before it left is
 * kept for him, otherwise it is dropped. Any thread.
 */
void chr_set_heard(struct chr *c, bool heard);

/* Called when the person at the terminal asks to end (stdio: Ctrl-A x). It may not free c. */
void chr_set_quit(struct chr *c, void (*quit)(void *ctx), void *ctx);

/*
 * Writes out what is buffered, waiting up to timeout_ms; 0, -ETIMEDOUT, or as chr_error. What a
 * pty keeps while nobody has it open does not count.
 */
int chr_flush(struct chr *c, int timeout_ms);

/* 0, or -errno of the first output that the host refused (disk full, reader gone) and was lost. Any
 * thread. */
int chr_error(struct chr *c);

/* The pseudo-terminal's path ("/dev/pts/3"), the path of the file or socket, or NULL. */
const char *chr_path(const struct chr *c);
