/* How far long work is, on the terminal that a person looks at. */
#pragma once

#include "block/image.h"

#include <stdbool.h>

struct progress {
    const char *what;
    bool shown; /* standard error is a terminal */
    int percent;
    struct block_progress step;
};

void progress_start(struct progress *p, const char *what);
void progress_step(struct progress *p, uint64_t done, uint64_t total);
/* Takes the line away again. */
void progress_end(struct progress *p);
