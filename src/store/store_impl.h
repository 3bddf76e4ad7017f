/* Between the files of the store: one unit's (store.c) and all of the directory's (store_dir.c). */
#pragma once

#include "store/store.h"

#include <sys/stat.h>

#define STORE_SUFFIX ".unit"
#define STORE_ARCHIVE ".archive"
#define STORE_NAME 64 /* bytes of a name */
#define STORE_TEMPORARY "new-"

/* New records are worth writing if they are a part of the file's size, or if it has not been
 * written for some seconds. */
#define WORTH_PART 32u
#define WORTH_EVERY 60

struct store {
    uint64_t limit;
    uid_t user;
    char path[];
};

/* Is it of this type, the effective user's, and for nobody else to write? */
bool store_owned(const struct stat *st, mode_t type);
/* The directory, opened and checked; -errno. make: and made if it is not there. */
int store_directory(const struct store *s, bool make);
/* A file of the directory, likewise, to read. */
int store_file(int dir, const char *name);
/* Removes what is too much, and what dead writers have left. Not each time that it is called. */
void store_shrink(const struct store *s, int dir);
