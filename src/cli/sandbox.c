#include "cli/sandbox.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sanitizers look at /proc and trace themselves at the end. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

bool sandbox_is_off(void)
{
    return SANITIZED;
}

void sandbox_init(struct sandbox *s)
{
    *s = (struct sandbox){.off = SANITIZED,
                          .how = {.user = CONFINE_NOBODY, .group = CONFINE_NOBODY}};
}

int sandbox_set(struct sandbox *s, const char *value, struct error *err)
{
    s->off = !strcmp(value, "off");
    return s->off || !strcmp(value, "on")
               ? 0
               : error_set(err, EINVAL, "--sandbox: '%s' is neither on nor off", value);
}

/* Without the name service switch, which a static program does not have. */
static bool sandbox_find_user(struct sandbox *s, const char *name)
{
    bool found = false;
    FILE *f = fopen("/etc/passwd", "re");
    for (struct passwd *p; f && !found && (p = fgetpwent(f));) {
        found = !strcmp(p->pw_name, name);
        if (found)
            s->how.user = p->pw_uid;
        if (found)
            s->how.group = p->pw_gid;
    }
    if (f)
        fclose(f);
    return found;
}

static bool sandbox_parse_ids(struct sandbox *s, const char *value)
{
    char *end;
    unsigned long long user = strtoull(value, &end, 10), group = user;
    if (*value < '0' || *value > '9')
        return false;
    if (*end == ':' && end[1] >= '0' && end[1] <= '9')
        group = strtoull(end + 1, &end, 10);
    s->how.user = (uint32_t)user;
    s->how.group = (uint32_t)group;
    return !*end && user < UINT32_MAX && group < UINT32_MAX;
}

int sandbox_set_user(struct sandbox *s, const char *value, struct error *err)
{
    s->user_given = true;
    if (!sandbox_parse_ids(s, value) && !sandbox_find_user(s, value))
        return error_set(err, EINVAL,
                         "--user: '%s' is neither UID nor UID:GID nor a name of /etc/passwd",
                         value);
    return s->how.user ? 0 : error_set(err, EINVAL, "--user: not root");
}

static int sandbox_check(const struct sandbox *s, struct error *err)
{
    if (s->user_given && s->off)
        return error_set(err, EINVAL, "--user without the sandbox, which changes the user");
    if (s->user_given && geteuid())
        return error_set(err, EPERM, "--user: only root can become another user");
    return 0;
}

int sandbox_enter(struct sandbox *s, struct vm *vm, struct error *err)
{
    int rc = sandbox_check(s, err);
    if (rc || s->off)
        return rc;
    if (vm_confine(vm, &s->how, &s->report, err))
        return error_prefix(err, "the machine cannot be confined (--sandbox off runs it without)");
    s->done = true;
    if (s->user_given && s->report.root)
        return error_set(err, EPERM, "--user: this root cannot become user %u", s->how.user);
    if (!s->report.landlock && !s->report.namespaces)
        fputs(
            "guise: this host has neither landlock nor namespaces for us: the sandbox is the list "
            "of system calls alone\n",
            stderr);
    return 0;
}

void sandbox_print(const struct sandbox *s, FILE *out)
{
    if (!s->done) {
        fputs("sandbox       off\n", out);
        return;
    }
    fprintf(out, "sandbox       %u system calls; landlock ", s->report.calls);
    if (s->report.landlock)
        fprintf(out, "version %d", s->report.landlock);
    else
        fputs("none", out);
    fprintf(out, "; namespaces %s; user %u%s\n", s->report.namespaces ? "yes" : "no",
            (unsigned)s->report.user, s->report.root ? ", root" : "");
}
