#include "machine/firmware.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name, *package;
    const char *directories[3];
} files[] = {
    [FIRMWARE_EDK2_CODE] = {"RISCV_VIRT_CODE.fd",
                            "qemu-efi-riscv64",
                            {"/usr/share/qemu-efi-riscv64", "/usr/share/edk2/riscv"}},
    [FIRMWARE_EDK2_VARS] = {"RISCV_VIRT_VARS.fd",
                            "qemu-efi-riscv64",
                            {"/usr/share/qemu-efi-riscv64", "/usr/share/edk2/riscv"}},
    [FIRMWARE_U_BOOT] = {"uboot.elf", "u-boot-qemu", {"/usr/lib/u-boot/qemu-riscv64_smode"}},
    [FIRMWARE_OPENSBI] = {"fw_dynamic.bin",
                          "opensbi",
                          {"/usr/lib/riscv64-linux-gnu/opensbi/generic",
                           "/usr/share/opensbi/lp64/generic/firmware"}},
};

static bool is_there(char *buf, size_t size, const char *directory, const char *name)
{
    return (size_t)snprintf(buf, size, "%s/%s", directory, name) < size && !access(buf, R_OK);
}

int firmware_find(enum firmware_file file, char *buf, size_t size, struct error *err)
{
    const char *own = getenv("GUISE_FIRMWARE");
    if (own && is_there(buf, size, own, files[file].name))
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(files[file].directories) && files[file].directories[i]; i++)
        if (is_there(buf, size, files[file].directories[i], files[file].name))
            return 0;
    return error_set(err, ENOENT,
                     "%s is not installed: install Debian's package %s, or let GUISE_FIRMWARE name "
                     "the directory that has it",
                     files[file].name, files[file].package);
}

/* All of `from` into `to`. 0 or errno. */
static int copy(int from, int to)
{
    struct stat st;
    if (fstat(from, &st))
        return errno;
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = sendfile(to, from, &at, (size_t)(st.st_size - at));
        if (n < 0 && errno != EINTR)
            return errno;
        if (!n)
            return EIO;
    }
    return 0;
}

/* The file appears whole or not at all; one that somebody else makes meanwhile stays. */
static int make_from(int template, const char *path, struct error *err)
{
    char temp[PATH_MAX];
    if ((size_t)snprintf(temp, sizeof temp, "%s.tmp%d", path, (int)getpid()) >= sizeof temp)
        return error_set(err, ENAMETOOLONG, "%s: the name is too long", path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_set(err, errno, "%s: cannot be created: %s", temp, strerror(errno));
    int code = copy(template, fd);
    if (close(fd) && !code)
        code = errno;
    if (!code && link(temp, path) && errno != EEXIST)
        code = errno;
    unlink(temp);
    return code ? error_set(err, code, "%s: cannot be written: %s", path, strerror(code)) : 0;
}

int firmware_make_vars(const char *path, struct error *err)
{
    char from[PATH_MAX];
    if (!access(path, F_OK))
        return 0;
    int rc = firmware_find(FIRMWARE_EDK2_VARS, from, sizeof from, err);
    if (rc)
        return rc;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "%s: cannot be opened: %s", from, strerror(errno));
    rc = make_from(fd, path, err);
    close(fd);
    return rc;
}
