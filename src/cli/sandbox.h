/* Options --sandbox and --user, and what was done about them (docs/confinement.md). */
#pragma once

#include "sandbox/confine.h"
#include "vmm/vm.h"

#include <stdio.h>

struct sandbox {
    bool off;
    bool user_given;
    struct vm_confinement how;
    struct confine_report report;
    bool done;
};

/* Whether this build needs it to be off if nothing is said. */
bool sandbox_is_off(void);

void sandbox_init(struct sandbox *s);
/* "on", "off". */
int sandbox_set(struct sandbox *s, const char *value, struct error *err);
/* "NAME", "UID", "UID:GID". */
int sandbox_set_user(struct sandbox *s, const char *value, struct error *err);

/* Before the first vm_run, if the sandbox is on; what s->how says is the caller's, but the user. */
int sandbox_enter(struct sandbox *s, struct vm *vm, struct error *err);
/* A line for --stats. */
void sandbox_print(const struct sandbox *s, FILE *out);
