/* Programs of ours that are installed together. */
#pragma once

#include <stddef.h>

/*
 * The path of the program `name` into path: what the environment variable `variable` says, or else
 * beside the one that runs. 0 or -errno; -ENAMETOOLONG if there is no room for it.
 */
int program_beside(const char *variable, const char *name, char *path, size_t size);
