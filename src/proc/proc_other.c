#include "proc/proc_other.h"

#include "proc/syscall.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE_MAGIC UINT64_C(0x6775697365703032)

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

struct proc_page {
    uint64_t magic;
    uint64_t exe; /* a string */
};

void proc_other_publish(const struct process *p)
{
    void *at = (void *)(uintptr_t)MM_HIGH;
    struct proc_page *page = mmap(at, MM_PAGE, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED || page != at)
        return;
    *page = (struct proc_page){.magic = PAGE_MAGIC, .exe = guest_address(p->exe)};
    mprotect(page, MM_PAGE, PROT_READ);
}

/* At most size bytes; how many there were. */
static size_t other_read(pid_t pid, uint64_t from, void *to, size_t size)
{
    const struct iovec local = {.iov_base = to, .iov_len = size};
    const struct iovec remote = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};
    ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    return n < 0 ? 0 : (size_t)n;
}

static bool other_page(pid_t pid, struct proc_page *page)
{
    return other_read(pid, MM_HIGH, page, sizeof *page) == sizeof *page &&
           page->magic == PAGE_MAGIC;
}

/* Goes past the number of a process and the slash after it. */
static bool other_number(const char **path, pid_t *pid)
{
    char *end;
    if (**path < '1' || **path > '9')
        return false;
    *pid = (pid_t)strtol(*path, &end, 10);
    bool more = *end == '/';
    *path = end + strspn(end, "/");
    return more;
}

/* The name in /proc/PID or /proc/PID/task/TID; NULL: it is not there. */
static const char *other_name(const char *path, pid_t *pid)
{
    pid_t tid;
    if (strncmp(path, "/proc/", 6))
        return NULL;
    path += 6;
    if (!other_number(&path, pid))
        return NULL;
    if (strncmp(path, "task/", 5))
        return path;
    path += 5;
    return other_number(&path, &tid) ? path : NULL;
}

bool proc_other_is_memory(const char *path)
{
    pid_t pid;
    const char *name = other_name(path, &pid);
    return name && !strcmp(name, "mem");
}

enum proc_file proc_other_find(const char *path, pid_t *pid)
{
    struct proc_page page;
    path = other_name(path, pid);
    if (!path || *pid == getpid())
        return PROC_FILE_NONE;
    enum proc_file file = !strcmp(path, "exe")    ? PROC_FILE_EXE
                          : !strcmp(path, "maps") ? PROC_FILE_MAPS
                                                  : PROC_FILE_NONE;
    return file != PROC_FILE_NONE && other_page(*pid, &page) ? file : PROC_FILE_NONE;
}

bool proc_other_exe(pid_t pid, char out[PATH_MAX])
{
    struct proc_page page;
    if (!other_page(pid, &page))
        return false;
    memset(out, 0, PATH_MAX);
    for (size_t at = 0; at < PATH_MAX;) { /* up to the end of what is mapped there */
        size_t n = MM_PAGE - (page.exe + at) % MM_PAGE;
        n = n < PATH_MAX - at ? n : PATH_MAX - at;
        if (other_read(pid, page.exe + at, out + at, n) != n || memchr(out + at, 0, n))
            break;
        at += n;
    }
    return out[0] == '/' && memchr(out, 0, PATH_MAX);
}

void proc_other_maps(pid_t pid, FILE *out)
{
    char line[PATH_MAX + 128], path[32];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *in = fopen(path, "re");
    while (in && fgets(line, sizeof line, in) && strtoull(line, NULL, 16) < MM_HIGH)
        fputs(line, out);
    if (in)
        fclose(in);
}
