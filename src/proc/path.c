#include "proc/path.h"

#include "base/bits.h"
#include "proc/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- /proc ---- */

/* Goes behind `word` and the slashes after it, if s begins with it. */
static bool path_skip(const char **s, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(*s, word, len) || (*s)[len] != '/')
        return false;
    *s += len;
    while (**s == '/')
        (*s)++;
    return true;
}

static bool path_skip_number(const char **s)
{
    char *end;
    if (**s < '0' || **s > '9')
        return false;
    strtoul(*s, &end, 10);
    if (*end != '/')
        return false;
    *s = end;
    return path_skip(s, "");
}

/* Goes past the directory of the process: /proc/self and its like. */
static bool path_skip_process(const char **path, int pid)
{
    char own[16];
    snprintf(own, sizeof own, "%d", pid);
    return path_skip(path, "") && path_skip(path, "proc") &&
           (path_skip(path, "self") || path_skip(path, "thread-self") || path_skip(path, own));
}

enum proc_file proc_file_find(const char *path, int pid)
{
    static const struct {
        const char *name;
        enum proc_file file;
    } files[] = {{"exe", PROC_FILE_EXE},   {"maps", PROC_FILE_MAPS},
                 {"auxv", PROC_FILE_AUXV}, {"cmdline", PROC_FILE_CMDLINE},
                 {"stat", PROC_FILE_STAT}, {"status", PROC_FILE_STATUS}};
    const char *top = path;
    if (path_skip(&top, "") && path_skip(&top, "proc") && !strcmp(top, "cpuinfo"))
        return PROC_FILE_CPUINFO;
    if (!path_skip_process(&path, pid))
        return PROC_FILE_NONE;
    if (path_skip(&path, "task") && !path_skip_number(&path))
        return PROC_FILE_NONE;
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
        if (!strcmp(path, files[i].name))
            return files[i].file;
    return PROC_FILE_NONE;
}

enum proc_dir proc_dir_find(const char *path, int pid)
{
    if (!path_skip_process(&path, pid))
        return PROC_DIR_NONE;
    if (!strcmp(path, "task"))
        return PROC_DIR_TASK;
    if (path_skip(&path, "task") && !path_skip_number(&path))
        return PROC_DIR_NONE;
    return strcmp(path, "fd") && strcmp(path, "fdinfo") ? PROC_DIR_NONE : PROC_DIR_FD;
}

/* Does the path name one of guise's own descriptors? */
static bool path_own_fd(const struct process *p, const char *path)
{
    char dir[PATH_MAX];
    const char *name = strrchr(path, '/');
    if (!name || name[1] < '0' || name[1] > '9')
        return false;
    snprintf(dir, sizeof dir, "%.*s", (int)(name - path), path);
    return proc_dir_find(dir, getpid()) == PROC_DIR_FD &&
           syscall_own_fd(p, strtoul(name + 1, NULL, 10));
}

/* ---- the sysroot ---- */

static bool path_of_host(const char *path)
{
    static const char *const tops[] = {"/proc", "/sys", "/dev"};
    for (unsigned i = 0; i < ARRAY_SIZE(tops); i++) {
        size_t len = strlen(tops[i]);
        if (!strncmp(path, tops[i], len) && (path[len] == '/' || !path[len]))
            return true;
    }
    return false;
}

/* The path that an O_PATH descriptor was opened by. */
static bool path_of_fd(int fd, char out[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX);
    if (n <= 0 || n == PATH_MAX)
        return false;
    out[n] = 0;
    return out[0] == '/';
}

/* The two put together: for hosts without openat2 or /proc. */
static bool path_joined(const char *sysroot, const char *path, bool follow, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s%s", sysroot, path);
    return n < PATH_MAX && !faccessat(AT_FDCWD, out, F_OK, follow ? 0 : AT_SYMLINK_NOFOLLOW);
}

bool path_in_sysroot(const char *sysroot, const char *path, bool follow, char out[PATH_MAX])
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
                                 .resolve = RESOLVE_IN_ROOT};
    int root = open(sysroot, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return false;
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    int error = errno;
    close(root);
    if (fd < 0)
        return (error == ENOSYS || error == EPERM) && path_joined(sysroot, path, follow, out);
    bool found = path_of_fd(fd, out);
    close(fd);
    return found || path_joined(sysroot, path, follow, out);
}

/* ---- look-up ---- */

static bool path_read(uint64_t guest, char out[PATH_MAX])
{
    const char *s = (const char *)(uintptr_t)guest;
    ptrdiff_t len = guarded_strlen(s, PATH_MAX);
    if (len < 0 || !guarded_copy(out, s, (size_t)len + 1))
        return false;
    out[len] = 0;
    return true;
}

static void path_substitute(struct path *path, const char *text)
{
    snprintf(path->text, sizeof path->text, "%s", text);
    path->address = guest_address(path->text);
}

void path_look_up(struct thread *t, uint64_t guest, bool follow, struct path *path)
{
    const struct process *p = t->process;
    const char *sysroot = p->config->sysroot;
    char text[PATH_MAX];
    uint64_t first;
    path->address = guest;
    path->proc = PROC_FILE_NONE;
    if (!guarded_load((const void *)(uintptr_t)guest, 1, &first) || first != '/' ||
        !path_read(guest, text))
        return;
    if (!strncmp(text, "/proc", 5)) {
        path->proc = proc_file_find(text, getpid());
        if (p->told && (path->proc == PROC_FILE_CMDLINE || path->proc == PROC_FILE_AUXV))
            path->proc = PROC_FILE_NONE;
        if (path_own_fd(p, text)) {
            path_substitute(path, "/proc/self/fd/none");
            return;
        }
    }
    if (path->proc == PROC_FILE_EXE && follow)
        path_substitute(path, p->exe);
    else if (path->proc != PROC_FILE_NONE)
        path_substitute(path, text);
    else if (sysroot && !path_of_host(text) && path_in_sysroot(sysroot, text, follow, path->text))
        path->address = guest_address(path->text);
}
