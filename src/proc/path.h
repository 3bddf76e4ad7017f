/*
 * Paths of the program: what is looked up below the sysroot, and the files of /proc that tell about
 * this process, which must tell about the program and not about guise.
 *
 * An absolute path of something that exists below the sysroot means that; every other path is the
 * host's. Links below the sysroot stay below it. /proc, /sys and /dev are always the host's.
 */
#pragma once

#include "proc/process.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Files of /proc that are made here. */
enum proc_file {
    PROC_FILE_NONE,
    PROC_FILE_EXE,
    PROC_FILE_MAPS,
    PROC_FILE_AUXV,
    PROC_FILE_CMDLINE,
    PROC_FILE_STAT,
    PROC_FILE_STATUS,
    PROC_FILE_CPUINFO,
};

/* What the absolute path names, for the process `pid`. Links in it are not followed. */
enum proc_file proc_file_find(const char *path, int pid);

/* Directories of /proc about this process in which something is hidden. */
enum proc_dir {
    PROC_DIR_NONE,
    PROC_DIR_FD, /* of descriptors, or about them */
    PROC_DIR_TASK,
};

/* What the absolute path of a directory names, for the process `pid`. */
enum proc_dir proc_dir_find(const char *path, int pid);

/*
 * Opens a file of /proc with what it tells now. A descriptor or -errno. Not for PROC_FILE_EXE.
 */
struct path;
int proc_file_open(struct thread *t, const struct path *path, uint64_t flags);

struct path {
    uint64_t address; /* what the kernel is to be given: the guest's, or that of `text` */
    enum proc_file proc;
    pid_t other;         /* whose file of /proc it is, if it is another process's; 0: this one's */
    bool memory;         /* it is a process's memory */
    char text[PATH_MAX]; /* the path when proc is not NONE, or where it was found */
};

/*
 * Looks up a path of the guest. follow: whether the call follows a link at its end. What cannot be
 * read, or is too long, is left to the kernel to refuse.
 */
void path_look_up(struct thread *t, uint64_t guest, bool follow, struct path *path);

/* Finds an absolute path below sysroot; true with its real path in out when it is there. */
bool path_in_sysroot(const char *sysroot, const char *path, bool follow, char out[PATH_MAX]);
