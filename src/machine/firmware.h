/*
 * Firmware for the board `virt` that distributions install as files: where it is, and a file of its
 * own for the variables of each machine.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>

enum firmware_file {
    FIRMWARE_EDK2_CODE, /* the first bank of flash */
    FIRMWARE_EDK2_VARS, /* what the second one begins as */
    FIRMWARE_U_BOOT,    /* an ELF file for S-mode: what kernel boots */
    FIRMWARE_OPENSBI,   /* fw_dynamic.bin, for M-mode */
};

/*
 * The file's path into buf: in the directory that the environment variable GUISE_FIRMWARE names, or
 * else where Debian's and Fedora's packages put it. -ENOENT with a sentence that names the package.
 */
int firmware_find(enum firmware_file file, char *buf, size_t size, struct error *err);

/* Makes a file of variables, as EDK2 brings it, unless there is one of that name already. */
int firmware_make_vars(const char *path, struct error *err);
