#include "sandbox/calls.h"

#include "base/bits.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SYS_SECCOMP_CODE 1 /* si_code: the filter's, not somebody's kill */

/* Process-wide, as the action of a signal is. */
static struct sigaction violation_former;

static const struct {
    int nr;
    const char *name;
} call_names[] = {
#define NAME(x) {SYS_##x, #x},
#include <call_names.def> /* made by call-names */
};

static const char *violation_name(int nr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(call_names); i++)
        if (call_names[i].nr == nr)
            return call_names[i].name;
    return "unknown";
}

/* All that a signal handler may use. */
static size_t violation_text(char *text, size_t size, int nr)
{
    char number[12];
    unsigned n = (unsigned)nr, at = sizeof number - 1;
    number[at] = 0;
    do
        number[--at] = (char)('0' + n % 10);
    while ((n /= 10) && at);
    const char *const parts[] = {
        "guise: a system call that the sandbox does not allow: ", violation_name(nr), " (",
        number + at, "). The machine has been stopped; docs/confinement.md\n"};
    size_t len = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        for (const char *p = parts[i]; *p && len < size; p++)
            text[len++] = *p;
    return len;
}

/* Ends as without a handler, after the one that was there before, which puts the terminal back. */
static void violation_handle(int sig, siginfo_t *info, void *context)
{
    char text[256];
    (void)context;
    if (info->si_code == SYS_SECCOMP_CODE)
        (void)!write(STDERR_FILENO, text, violation_text(text, sizeof text, info->si_syscall));
    sigaction(sig, &violation_former, NULL);
    raise(sig);
}

int violation_init(struct error *err)
{
    struct sigaction ours = {.sa_sigaction = violation_handle, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSYS, NULL, &violation_former) || sigaction(SIGSYS, &ours, NULL))
        return error_set(err, errno, "cannot catch SIGSYS: %s", strerror(errno));
    /* An ignored one would return to what made the call. */
    if (violation_former.sa_handler == SIG_IGN)
        violation_former.sa_handler = SIG_DFL;
    return 0;
}
