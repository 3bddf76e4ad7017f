#pragma once

struct number {
    int number;
    const char *function; /* of the kernel */
};
/* A number of -1 ends them. */
extern const struct number numbers[];
