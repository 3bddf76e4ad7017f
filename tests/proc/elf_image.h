/* Small program files, made by tests. */
#pragma once

#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGE_ENTRY UINT64_C(0x10200)
#define IMAGE_TEXT UINT64_C(0x10000)
#define IMAGE_DATA UINT64_C(0x123f0)    /* 16 bytes of the file, then zeros: */
#define IMAGE_BSS_SIZE UINT64_C(0x2345) /* with the 16 bytes */
#define IMAGE_SIZE 1024                 /* of the file */
#define IMAGE_DATA_OFFSET 0x3f0
#define IMAGE_NAME_OFFSET 0x300

/*
 * Header and table, code, the interpreter's name if there is one, and 16 bytes of data at the end.
 * The data's place in the file is that in its page.
 */
struct image {
    Elf64_Ehdr eh;
    Elf64_Phdr text, data, stack, interp;
    uint8_t rest[IMAGE_SIZE - sizeof(Elf64_Ehdr) - 4 * sizeof(Elf64_Phdr)];
};

static inline void *image_at(struct image *m, size_t offset)
{
    return (uint8_t *)m + offset;
}

/* type: ET_EXEC or ET_DYN. interpreter: NULL for none. */
static inline void image_make(struct image *m, uint16_t type, const char *interpreter)
{
    memset(m, 0, sizeof *m);
    m->eh = (Elf64_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = type,
                         .e_machine = EM_RISCV,
                         .e_version = EV_CURRENT,
                         .e_entry = IMAGE_ENTRY,
                         .e_phoff = sizeof m->eh,
                         .e_ehsize = sizeof m->eh,
                         .e_phentsize = sizeof m->text,
                         .e_phnum = interpreter ? 4 : 3};
    m->text = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_X,
                           .p_vaddr = IMAGE_TEXT,
                           .p_filesz = IMAGE_SIZE,
                           .p_memsz = IMAGE_SIZE,
                           .p_align = 4096};
    m->data = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_W,
                           .p_offset = IMAGE_DATA_OFFSET,
                           .p_vaddr = IMAGE_DATA,
                           .p_filesz = 16,
                           .p_memsz = IMAGE_BSS_SIZE,
                           .p_align = 4096};
    m->stack = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W};
    memset(image_at(m, IMAGE_DATA_OFFSET), 0xda, 16);
    if (interpreter) {
        size_t size = strlen(interpreter) + 1;
        m->interp =
            (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = IMAGE_NAME_OFFSET, .p_filesz = size};
        memcpy(image_at(m, IMAGE_NAME_OFFSET), interpreter, size);
    }
}

/* An open file with these bytes; it has no name. */
static inline int image_open(const void *data, size_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, data, size) != (ssize_t)size) {
        close(fd);
        return -1;
    }
    return fd;
}
