/*
 * The process VM: one riscv64 Linux program in this process.
 *
 * The program's memory is this process's memory, at the same addresses; its threads are this
 * process's threads, its files this process's files. Each system call is served by this host's
 * kernel, after what differs between the two has been converted (syscalls.def).
 */
#pragma once

#include "base/error.h"
#include "core/engine.h"

#include <stdio.h>

struct store;

/* What the host's kernel tells its handler besides arguments. */
struct proc_handled {
    int fd;             /* open on the program, becomes proc_run's */
    const char *execfn; /* AT_EXECFN of the program: of a script what was asked for */
};

struct proc_config {
    const struct engine_ops *engine;
    const char *program; /* path; looked up below `sysroot` first if it is absolute */
    char **argv;         /* of the program, argv[0] included */
    char **envp;
    /*
     * Set when the host's kernel has called guise as its handler of such programs (binfmt_misc):
     * the program is open already, perhaps by a right to execute alone, and what it starts is for
     * the kernel to start. NULL: not so.
     */
    const struct proc_handled *handled;
    int program_fd;          /* open on the program, which may have no name; closed. 0: none */
    const char *sysroot;     /* directory with the program's interpreter and libraries; NULL */
    const char *const *self; /* arguments of guise before the program, for programs that it starts:
                                "exec", options; NULL ends them */
    uint64_t code_cache;     /* as vcpu.code_cache */
    const struct store *store; /* of translations; NULL: they are not kept */
    const char *store_why;     /* then why, for --stats; NULL: it was wished so */
    bool strace;               /* system calls are told on stderr */
    FILE *dump;                /* what is translated is written there; NULL: no */
    bool stats;                /* the engine's counters on stderr at the end */
};

/*
 * Runs the program. Comes back only if it could not be started: -errno as the kernel's exec would
 * give, with a sentence that names the file.
 */
int proc_run(const struct proc_config *config, struct error *err);
