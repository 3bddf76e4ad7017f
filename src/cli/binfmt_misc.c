#include "cli/binfmt_misc.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define REGISTER_MAX 1920 /* the kernel's bound */
#define HEAD 20           /* bytes of an ELF file up to the machine */

/*
 * ELF, 64 bits, little endian; program or position-independent program; riscv64. What else there is
 * in the header is the loader's to judge.
 */
#define MAGIC \
    "\\x7fELF\\x02\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xf3\\x00"
#define MASK                                                                                       \
    "\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xfe\\xff\\" \
    "xff\\xff"

/* ---- the file system ---- */

/* The sentence for a file of it that cannot be used. */
static int binfmt_error(struct error *err, const char *what, const char *name)
{
    int code = errno;
    if (code == EACCES || code == EPERM)
        return error_set(err, code, "%s needs root: " BINFMT_DIR "/%s cannot be written", what,
                         name);
    return error_set(err, code, "%s: " BINFMT_DIR "/%s: %s", what, name, strerror(code));
}

int binfmt_enabled(void)
{
    char text[16] = "";
    int fd = open(BINFMT_DIR "/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    return n < 0 ? (int)n : !strncmp(text, "enabled", 7);
}

int binfmt_mount(struct error *err)
{
    if (binfmt_enabled() >= 0 || !mount("binfmt_misc", BINFMT_DIR, "binfmt_misc", 0, NULL))
        return 0;
    if (errno == EPERM || errno == EACCES)
        return error_set(
            err, errno, "binfmt_misc is not mounted at " BINFMT_DIR ", and mounting it needs root");
    if (errno == ENODEV)
        return error_set(err, ENODEV, "this kernel has no binfmt_misc (CONFIG_BINFMT_MISC)");
    return error_set(err, errno, "binfmt_misc cannot be mounted at " BINFMT_DIR ": %s",
                     strerror(errno));
}

static int binfmt_write(const char *name, const char *text, const char *what, struct error *err)
{
    char path[sizeof BINFMT_DIR + 1 + NAME_MAX + 1];
    snprintf(path, sizeof path, BINFMT_DIR "/%s", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return binfmt_error(err, what, name);
    ssize_t n = write(fd, text, strlen(text));
    int rc = n < 0 ? binfmt_error(err, what, name) : 0;
    close(fd);
    return rc;
}

/* ---- the handlers ---- */

/* A handler's file, as the kernel writes it. */
struct entry {
    struct binfmt_handler handler;
    unsigned offset;
    char magic[2 * 256 + 1], mask[2 * 256 + 1]; /* hexadecimal; no mask: all bits count */
};

static void entry_line(struct entry *e, const char *line)
{
    if (!strncmp(line, "enabled", 7))
        e->handler.enabled = true;
    sscanf(line, "interpreter %4095[^\n]", e->handler.interpreter);
    sscanf(line, "flags: %15[^\n]", e->handler.flags);
    sscanf(line, "offset %u", &e->offset);
    sscanf(line, "magic %512[0-9a-f]", e->magic);
    sscanf(line, "mask %512[0-9a-f]", e->mask);
}

static bool entry_read(struct entry *e, const char *name)
{
    char path[sizeof BINFMT_DIR + 1 + NAME_MAX + 1], line[PATH_MAX + 32];
    snprintf(path, sizeof path, BINFMT_DIR "/%s", name);
    FILE *in = fopen(path, "re");
    if (!in)
        return false;
    *e = (struct entry){.handler.name = name};
    while (fgets(line, sizeof line, in))
        entry_line(e, line);
    fclose(in);
    return e->magic[0];
}

static unsigned hex_byte(const char *hex)
{
    char digits[3] = {hex[0], hex[1], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* Whether the kernel would give it a file that begins so. Bytes behind the head match. */
static bool entry_takes(const struct entry *e, const uint8_t head[HEAD])
{
    for (size_t i = 0; 2 * i + 1 < strlen(e->magic) && e->offset + i < HEAD; i++) {
        unsigned mask = 2 * i + 1 < strlen(e->mask) ? hex_byte(e->mask + 2 * i) : 0xff;
        if ((head[e->offset + i] ^ hex_byte(e->magic + 2 * i)) & mask)
            return false;
    }
    return true;
}

static bool entry_takes_riscv64(const struct entry *e)
{
    uint8_t head[HEAD] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    head[18] = EM_RISCV;
    head[16] = ET_EXEC;
    bool fixed = entry_takes(e, head);
    head[16] = ET_DYN;
    return fixed || entry_takes(e, head);
}

int binfmt_each(void (*fn)(void *ctx, const struct binfmt_handler *h), void *ctx, struct error *err)
{
    struct entry *e = malloc(sizeof *e);
    DIR *dir = e ? opendir(BINFMT_DIR) : NULL;
    if (!dir) {
        free(e);
        return binfmt_error(err, "reading the list of handlers", "");
    }
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        if (strcmp(d->d_name, "register") && strcmp(d->d_name, "status") &&
            entry_read(e, d->d_name) && entry_takes_riscv64(e))
            fn(ctx, &e->handler);
    closedir(dir);
    free(e);
    return 0;
}

int binfmt_register(const char *name, const char *interpreter, const char *flags, struct error *err)
{
    char text[REGISTER_MAX + 1];
    /* What separates the fields is the first character, so that paths may have any other. */
    const char *separators = ":|;,!~";
    while (*separators && strchr(interpreter, *separators))
        separators++;
    int n = snprintf(text, sizeof text, "%1$c%2$s%1$cM%1$c0%1$c%3$s%1$c%4$s%1$c%5$s%1$c%6$s",
                     *separators, name, MAGIC, MASK, interpreter, flags);
    if (!*separators || strchr(interpreter, '\n') || (size_t)n >= sizeof text)
        return error_set(err, EINVAL, "%.200s: the kernel accepts no handler with such a path",
                         interpreter);
    return binfmt_write("register", text, "registering a handler", err);
}

int binfmt_remove(const char *name, struct error *err)
{
    return binfmt_write(name, "-1", "removing a handler", err);
}
