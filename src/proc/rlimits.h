/*
 * Resource limits that the program sees, but the host does not enforce: guise shares the address
 * space with the program and needs more of it than a board's kernel would count. mm.c refuses what
 * would exceed those of memory.
 */
#pragma once

#include <stdbool.h>
#include <sys/resource.h>

enum { GUEST_LIMIT_AS, GUEST_LIMIT_DATA, GUEST_LIMIT_STACK, GUEST_LIMITS };

struct guest_limits {
    bool set[GUEST_LIMITS]; /* false: the host's */
    struct rlimit limit[GUEST_LIMITS];
};
