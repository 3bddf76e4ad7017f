/*
 * Guise as the kernel's handler of riscv64 programs, registered by 'guise binfmt install'.
 *
 * The kernel gives a handler the arguments HANDLER PROGRAM ARGV... and, with the flags that guise
 * registers itself with: O, a descriptor that is open on the program (AT_EXECFD, which no other way
 * to start guise has); P, argv[0] of the program as its caller wrote it, where it would be left out
 * otherwise (told by a bit of AT_FLAGS, since Linux 5.12); and C, AT_SECURE for a program that
 * gives rights. AT_EXECFN is the program's own.
 */
#include "cli/cache.h"
#include "cli/verbs.h"
#include "proc/proc.h"
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/binfmts.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

/* False: there is none. 0 is a value that it may have. */
static bool handler_fd(int *fd)
{
    errno = 0;
    unsigned long value = getauxval(AT_EXECFD);
    *fd = (int)value;
    return value || errno != ENOENT;
}

bool handler_called(void)
{
    int fd;
    return handler_fd(&fd);
}

/*
 * Where translations are kept already: a handler makes no directory, which would turn up in images
 * that are built by it.
 */
static struct store *handler_store(void)
{
    struct error err;
    struct stat st;
    struct store *store = cache_open(&err);
    if (store && stat(store_path(store), &st)) {
        store_free(store);
        store = NULL;
    }
    return store;
}

int handler_run(int argc, char **argv)
{
    static const char *const self[] = {"exec", NULL};
    struct error err = {0};
    struct proc_handled handled = {.execfn = (const char *)getauxval(AT_EXECFN)};
    bool named = getauxval(AT_FLAGS) & AT_FLAGS_PRESERVE_ARGV0;
    if (!handler_fd(&handled.fd) || argc < (named ? 3 : 2))
        return fail_usage("the kernel has called this handler without a program");
    fcntl(handled.fd, F_SETFD, FD_CLOEXEC);
    const struct proc_config config = {.engine = vm_find_engine("auto", &err),
                                       .program = argv[1],
                                       .argv = argv + (named ? 2 : 1),
                                       .envp = environ,
                                       .handled = &handled,
                                       .self = self,
                                       .store = handler_store()};
    if (config.engine)
        proc_run(&config, &err);
    fail_usage(err.msg);
    return EXIT_NOT_EXECUTABLE;
}
