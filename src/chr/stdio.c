#include "chr/impl.h"
#include "chr/terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHR_ESCAPE 0x01 /* Ctrl-A */

static const char chr_stdio_help[] = "\r\n"
                                     "Ctrl-A h       this help\r\n"
                                     "Ctrl-A x       end guise\r\n"
                                     "Ctrl-A Ctrl-A  send Ctrl-A to the guest (also Ctrl-A a)\r\n";

struct chr_stdio {
    struct chr chr;
    bool escape; /* Ctrl-A was the last key */
    bool raw;
};

/*
 * Output must not block the loop, but O_NONBLOCK would be seen by every process that shares the
 * open file description, a shell included. A terminal or pipe is therefore opened a second time; a
 * regular file does not block, and what cannot be opened again is written in small pieces.
 */
static void chr_stdio_open_out(struct chr *c)
{
    struct stat st;
    c->out_fd = STDOUT_FILENO;
    if (fstat(STDOUT_FILENO, &st) || S_ISREG(st.st_mode))
        return;
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", STDOUT_FILENO);
    int fd = open(name, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        c->may_block = true;
        return;
    }
    c->out_fd = fd;
    c->own_out = true;
}

static int chr_stdio_open(struct chr *c, const char *arg, struct error *err)
{
    (void)arg;
    struct chr_stdio *s = (struct chr_stdio *)(void *)c;
    chr_stdio_open_out(c);
    c->in_fd = STDIN_FILENO;
    if (!isatty(STDIN_FILENO))
        return 0;
    int rc = terminal_raw(STDIN_FILENO, err);
    if (rc)
        return rc;
    s->raw = true;
    /* Ctrl-A x must get through to guise when the guest no longer reads what is typed. */
    c->keep_input = false;
    return 0;
}

static void chr_stdio_close(struct chr *c)
{
    struct chr_stdio *s = (struct chr_stdio *)(void *)c;
    if (s->raw)
        terminal_release();
}

/* One key after Ctrl-A; true if it is for the guest. */
static bool chr_stdio_command(struct chr *c, uint8_t *key)
{
    switch (*key) {
    case 'x':
        if (c->quit)
            c->quit(c->quit_ctx);
        return false;
    case 'h':
        chr_write(c, chr_stdio_help, sizeof chr_stdio_help - 1);
        return false;
    case 'a':
    case CHR_ESCAPE:
        *key = CHR_ESCAPE;
        return true;
    default:
        return false;
    }
}

static size_t chr_stdio_filter(struct chr *c, uint8_t *data, size_t len)
{
    struct chr_stdio *s = (struct chr_stdio *)(void *)c;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t key = data[i];
        bool pass = true;
        if (s->escape) {
            s->escape = false;
            pass = chr_stdio_command(c, &key);
        } else if (key == CHR_ESCAPE) {
            s->escape = true;
            pass = false;
        }
        if (pass)
            data[n++] = key;
    }
    return n;
}

const struct chr_ops chr_stdio_ops = {
    .name = "stdio",
    .size = sizeof(struct chr_stdio),
    .open = chr_stdio_open,
    .filter = chr_stdio_filter,
    .close = chr_stdio_close,
};

static int chr_stdout_open(struct chr *c, const char *arg, struct error *err)
{
    (void)arg;
    (void)err;
    chr_stdio_open_out(c);
    return 0;
}

const struct chr_ops chr_stdout_ops = {
    .name = "stdout",
    .size = sizeof(struct chr),
    .open = chr_stdout_open,
};
