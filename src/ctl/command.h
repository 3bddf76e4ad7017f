/*
 * What can be asked of a running machine: one table, from which requests are checked, the command
 * line of `guise ctl` is read and its help is printed (docs/control.md).
 */
#pragma once

#include "base/error.h"
#include "vmm/vm.h"

#include <jansson.h>

/* Raised when a client that was right before could be wrong now. Additions do not raise it. */
#define CTL_PROTOCOL 1

#define CTL_MAX_ARGS 4

struct ctl_machine {
    struct vm *vm;
    const char *name;
    const char *version; /* of guise */
};

enum ctl_kind {
    CTL_TEXT,   /* a JSON string */
    CTL_NUMBER, /* an integer, not negative */
    CTL_SIZE,   /* the same, of bytes; on the command line as in 512M */
};

struct ctl_arg {
    const char *name; /* NULL ends the list */
    enum ctl_kind kind;
    const char *value; /* what the help calls it: words between bars are the only ones allowed */
};

struct ctl_command {
    const char *name; /* NULL ends the table */
    const char *help;
    struct ctl_arg args[CTL_MAX_ARGS + 1];
    /*
     * On the thread of the machine's event loop. `args` has exactly those of the table, of their
     * kinds; fills the object `result`. 0 or -errno with one sentence.
     */
    int (*run)(const struct ctl_machine *m, const json_t *args, json_t *result, struct error *err);
};

extern const struct ctl_command ctl_commands[];

/* NULL: there is none of that name. */
const struct ctl_command *ctl_command_find(const char *name);

/* Whether a value is one that the argument takes. 0 or -EINVAL with *err. */
int ctl_arg_check(const struct ctl_arg *a, const json_t *value, struct error *err);

/* A JSON string even of bytes that are no UTF-8, which become '?'. */
json_t *ctl_text(const char *text);
