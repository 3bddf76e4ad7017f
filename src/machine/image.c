#include "machine/image.h"

#include "base/bits.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SEGMENTS 64

/* Reads exactly len bytes; an end of file in between is an error too. */
static int image_read(const struct image *img, void *buf, uint64_t len, uint64_t offset,
                      struct error *err)
{
    for (uint64_t done = 0; done < len;) {
        ssize_t n = pread(img->fd, (char *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, errno, "%s: cannot be read: %s", img->path, strerror(errno));
        if (!n)
            return error_set(err, EINVAL, "%s: is truncated; it ends before byte %llu", img->path,
                             (unsigned long long)(offset + len));
        done += (uint64_t)n;
    }
    return 0;
}

/* ---- ELF ---- */

static int elf_segments(const struct image *img, const Elf64_Ehdr *eh, Elf64_Phdr *ph,
                        struct error *err)
{
    if (eh->e_phentsize != sizeof *ph || !eh->e_phnum || eh->e_phnum > MAX_SEGMENTS)
        return error_set(err, EINVAL, "%s: ELF file with %u program headers cannot be loaded",
                         img->path, eh->e_phnum);
    return image_read(img, ph, eh->e_phnum * sizeof *ph, eh->e_phoff, err);
}

static int elf_check(struct image *img, const Elf64_Ehdr *eh, struct error *err)
{
    if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
        eh->e_machine != EM_RISCV)
        return error_set(err, EINVAL,
                         "%s: is an ELF file for another machine (e_machine %u), riscv64 is needed",
                         img->path, eh->e_machine);
    Elf64_Phdr ph[MAX_SEGMENTS];
    int rc = elf_segments(img, eh, ph, err);
    if (rc)
        return rc;
    uint64_t lo = UINT64_MAX, hi = 0;
    for (unsigned i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
            continue;
        if (ph[i].p_filesz > ph[i].p_memsz || ph[i].p_offset > img->file_size ||
            ph[i].p_filesz > img->file_size - ph[i].p_offset ||
            ph[i].p_memsz > UINT64_MAX - ph[i].p_paddr)
            return error_set(err, EINVAL, "%s: is truncated; segment %u ends beyond the file",
                             img->path, i);
        lo = ph[i].p_paddr < lo ? ph[i].p_paddr : lo;
        hi = ph[i].p_paddr + ph[i].p_memsz > hi ? ph[i].p_paddr + ph[i].p_memsz : hi;
    }
    if (lo >= hi)
        return error_set(err, EINVAL, "%s: ELF file has nothing to load", img->path);
    img->kind = IMAGE_ELF;
    img->lowest = lo;
    img->memory_size = hi - lo;
    /* A kernel's entry is a virtual address: find the segment and take its physical one. */
    img->entry = eh->e_entry;
    for (unsigned i = 0; i < eh->e_phnum; i++)
        if (ph[i].p_type == PT_LOAD && eh->e_entry - ph[i].p_vaddr < ph[i].p_memsz)
            img->entry = eh->e_entry - ph[i].p_vaddr + ph[i].p_paddr;
    return 0;
}

static int elf_load(const struct image *img, struct addrspace *mem, struct error *err)
{
    Elf64_Ehdr eh;
    Elf64_Phdr ph[MAX_SEGMENTS];
    int rc = image_read(img, &eh, sizeof eh, 0, err);
    if (!rc)
        rc = elf_segments(img, &eh, ph, err);
    for (unsigned i = 0; !rc && i < eh.e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
            continue;
        char *host = addrspace_ram(mem, ph[i].p_paddr, ph[i].p_memsz);
        if (!host || ph[i].p_filesz > ph[i].p_memsz)
            return error_set(
                err, EINVAL, "%s: wants %llu bytes at 0x%llx, where the machine has no memory",
                img->path, (unsigned long long)ph[i].p_memsz, (unsigned long long)ph[i].p_paddr);
        rc = image_read(img, host, ph[i].p_filesz, ph[i].p_offset, err);
        memset(host + ph[i].p_filesz, 0, ph[i].p_memsz - ph[i].p_filesz);
    }
    return rc;
}

/* ---- Linux Image ---- */

struct linux_header {
    uint32_t code[2];
    uint64_t text_offset, image_size, flags;
    uint32_t version, reserved[3];
    uint64_t magic;
    uint32_t magic2, pe_offset;
};

_Static_assert(sizeof(struct linux_header) == 64, "boot image header");

#define LINUX_MAGIC2 0x05435352 /* "RSC\x05" */

/*
 * The header knows the size in memory, not in the file. With an EFI stub the file is also a PE
 * executable, whose sections tell where the file must end.
 */
static int linux_check_complete(const struct image *img, const struct linux_header *lh,
                                struct error *err)
{
    uint8_t pe[24];
    if ((lh->code[0] & 0xffff) != 0x5a4d) /* "MZ" */
        return 0;
    int rc = image_read(img, pe, sizeof pe, lh->pe_offset, err);
    if (rc || memcmp(pe, "PE\0", 4))
        return rc;
    unsigned sections = le16_get(pe + 6);
    uint64_t table = lh->pe_offset + sizeof pe + le16_get(pe + 20);
    for (unsigned i = 0; i < sections; i++) {
        uint8_t section[40];
        rc = image_read(img, section, sizeof section, table + i * sizeof section, err);
        if (rc)
            return rc;
        uint64_t end = (uint64_t)le32_get(section + 16) + le32_get(section + 20);
        if (end > img->file_size)
            return error_set(err, EINVAL, "%s: is truncated; it has %llu of %llu bytes", img->path,
                             (unsigned long long)img->file_size, (unsigned long long)end);
    }
    return 0;
}

static int linux_check(struct image *img, const struct linux_header *lh, struct error *err)
{
    if (lh->flags & 1)
        return error_set(err, EINVAL, "%s: is a big-endian kernel", img->path);
    if (lh->text_offset >= (UINT64_C(1) << 40) || lh->image_size >= (UINT64_C(1) << 40))
        return error_set(err, EINVAL, "%s: kernel header has an impossible size", img->path);
    img->kind = IMAGE_LINUX;
    img->text_offset = lh->text_offset;
    img->memory_size = lh->image_size > img->file_size ? lh->image_size : img->file_size;
    return linux_check_complete(img, lh, err);
}

/* ---- all ---- */

static int image_identify(struct image *img, enum image_use use, struct error *err)
{
    union {
        Elf64_Ehdr elf;
        struct linux_header linux_image;
    } head = {0};
    uint64_t len = img->file_size < sizeof head ? img->file_size : sizeof head;
    int rc = image_read(img, &head, len, 0, err);
    if (rc || use == IMAGE_INITRD)
        return rc;
    if (!memcmp(&head, ELFMAG, SELFMAG)) {
        if (len < sizeof head.elf)
            return error_set(err, EINVAL, "%s: is a truncated ELF file", img->path);
        return elf_check(img, &head.elf, err);
    }
    if (len == sizeof head && head.linux_image.magic2 == LINUX_MAGIC2)
        return linux_check(img, &head.linux_image, err);
    if (use == IMAGE_KERNEL)
        return error_set(err, EINVAL,
                         "%s: is not a riscv64 Linux Image or ELF file; a compressed kernel must "
                         "be unpacked first",
                         img->path);
    return 0;
}

static int image_check_file(struct image *img, struct error *err)
{
    struct stat st;
    if (fstat(img->fd, &st))
        return error_set(err, errno, "%s: %s", img->path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return error_set(err, EISDIR, "%s: is a directory, not a file", img->path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, EINVAL, "%s: is not a regular file", img->path);
    if (!st.st_size)
        return error_set(err, EINVAL, "%s: is empty", img->path);
    img->file_size = img->memory_size = (uint64_t)st.st_size;
    return 0;
}

int image_open(struct image *img, const char *path, enum image_use use, struct error *err)
{
    *img = (struct image){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .kind = IMAGE_RAW};
    if (img->fd < 0)
        return error_set(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
    img->path = strdup(path);
    int rc = img->path ? 0 : error_set(err, ENOMEM, "out of memory for the name of %s", path);
    if (!rc)
        rc = image_check_file(img, err);
    if (!rc)
        rc = image_identify(img, use, err);
    if (rc)
        image_close(img);
    return rc;
}

void image_close(struct image *img)
{
    if (img->fd >= 0)
        close(img->fd);
    free(img->path);
    *img = (struct image){.fd = -1};
}

gpa_t image_start(const struct image *img, gpa_t base)
{
    return img->kind == IMAGE_ELF ? img->lowest : base;
}

gpa_t image_entry(const struct image *img, gpa_t base)
{
    return img->kind == IMAGE_ELF ? img->entry : base;
}

int image_load(const struct image *img, struct addrspace *mem, gpa_t base, struct error *err)
{
    if (img->kind == IMAGE_ELF)
        return elf_load(img, mem, err);
    void *host = addrspace_ram(mem, base, img->memory_size);
    if (!host)
        return error_set(err, EINVAL,
                         "%s: needs %llu bytes of memory at 0x%llx; give the machine more memory",
                         img->path, (unsigned long long)img->memory_size, (unsigned long long)base);
    return image_read(img, host, img->file_size, 0, err);
}
