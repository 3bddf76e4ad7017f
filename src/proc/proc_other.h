/*
 * What other processes that guise runs tell about themselves: the files of /proc that would tell
 * about their guise instead. Each has a page at MM_HIGH that says where to look in its memory; who
 * may read that is for the host's kernel to say, which has the same rule for these files.
 * Arguments, environment and auxv the kernel knows itself (process.told).
 */
#pragma once

#include "proc/path.h"

#include <sys/types.h>

struct process;

/* Puts up the page for this process. Without it, which may be, others are told of guise. */
void proc_other_publish(const struct process *p);

/*
 * The file of /proc that the absolute path names, of another process that has the page, and *pid:
 * PROC_FILE_EXE, PROC_FILE_MAPS, or PROC_FILE_NONE.
 */
enum proc_file proc_other_find(const char *path, pid_t *pid);

/* Does the absolute path name the memory of a process: /proc/PID/mem, or of its thread? */
bool proc_other_is_memory(const char *path);

/* Its program's path; false: it does not tell. */
bool proc_other_exe(pid_t pid, char out[PATH_MAX]);
void proc_other_maps(pid_t pid, FILE *out);
