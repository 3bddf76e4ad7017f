#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#define WIDTH 40

static void progress_told(void *ctx, uint64_t done, uint64_t total)
{
    progress_step(ctx, done, total);
}

void progress_start(struct progress *p, const char *what)
{
    *p = (struct progress){.what = what, .shown = isatty(STDERR_FILENO), .percent = -1};
    p->step = (struct block_progress){progress_told, p};
}

void progress_step(struct progress *p, uint64_t done, uint64_t total)
{
    int percent = total ? (int)(done >= total ? 100 : (double)done * 100 / (double)total) : 100;
    if (!p->shown || percent == p->percent)
        return;
    char bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i * 100 < percent * WIDTH ? '#' : '.';
    bar[WIDTH] = 0;
    p->percent = percent;
    fprintf(stderr, "\r%s [%s] %3d%%", p->what, bar, percent);
}

void progress_end(struct progress *p)
{
    if (p->shown && p->percent >= 0)
        fputs("\r\033[K", stderr);
    p->percent = -1;
}
