/*
 * Boot images: what --kernel, --initrd and --firmware name. Opened and checked when the machine is
 * made, read into guest memory at each reset. The file stays open in between, so that a reset does
 * not depend on the path.
 */
#pragma once

#include "core/addrspace.h"

enum image_kind {
    IMAGE_RAW,   /* bytes for a given address */
    IMAGE_LINUX, /* riscv64 Linux Image with its 64-byte header
                    (Documentation/arch/riscv/boot-image-header) */
    IMAGE_ELF,   /* 64-bit little-endian RISC-V executable, loaded at its physical addresses */
};

/* A payload is what firmware starts: a kernel, or raw bytes such as another boot loader. */
enum image_use { IMAGE_KERNEL, IMAGE_PAYLOAD, IMAGE_FIRMWARE, IMAGE_INITRD };

struct image {
    int fd; /* -1: none */
    enum image_kind kind;
    char *path;
    uint64_t file_size;
    uint64_t memory_size; /* from the first byte loaded to the last one needed, .bss included */
    uint64_t text_offset; /* IMAGE_LINUX: from the start of RAM */
    gpa_t lowest, entry;  /* IMAGE_ELF */
};

/*
 * Opens and checks. A kernel must be IMAGE_LINUX or IMAGE_ELF; a payload may be raw too; firmware
 * is IMAGE_ELF or raw; an initrd is raw. Errors are one sentence that names the file. image_close
 * is needed only after success.
 */
int image_open(struct image *img, const char *path, enum image_use use, struct error *err);
void image_close(struct image *img);

/* First address the image occupies and where it is entered, when the board would put it at base. */
gpa_t image_start(const struct image *img, gpa_t base);
gpa_t image_entry(const struct image *img, gpa_t base);

/* Reads it into memory; base is ignored for IMAGE_ELF. */
int image_load(const struct image *img, struct addrspace *mem, gpa_t base, struct error *err);
