#include "cli/binfmt_misc.h"
#include "cli/options.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_NAME "guise-riscv64"
/* O: open descriptor, P: argv[0] as it is, F: the handler is opened now, for all roots. */
#define FLAGS "OPF"
#define FLAGS_CREDENTIALS "OPCF"

#define OTHERS 16 /* handlers besides guise that are looked at */

struct binfmt_settings {
    const char *action;
    bool replace, credentials;
};

/* What is registered for riscv64 programs. */
struct binfmt_list {
    bool own;
    struct binfmt_handler handler; /* guise's */
    unsigned others;
    char names[OTHERS][NAME_MAX + 1];
    char interpreter[PATH_MAX]; /* of the last one of them */
};

static void list_add(void *ctx, const struct binfmt_handler *h)
{
    struct binfmt_list *list = ctx;
    if (!strcmp(h->name, OWN_NAME)) {
        list->own = true;
        list->handler = *h;
        list->handler.name = OWN_NAME;
    } else if (list->others < OTHERS) {
        snprintf(list->names[list->others++], NAME_MAX + 1, "%s", h->name);
        snprintf(list->interpreter, sizeof list->interpreter, "%s", h->interpreter);
    }
}

/* The path of this program, which the kernel opens. */
static int binfmt_self(char path[PATH_MAX], struct error *err)
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (n < 0)
        return error_set(err, errno, "/proc/self/exe, guise's own path: %s", strerror(errno));
    path[n] = 0;
    return access(path, X_OK) < 0 ? error_set(err, errno, "%s: %s", path, strerror(errno)) : 0;
}

/* ---- install ---- */

static int install_replace(const struct binfmt_settings *s, const struct binfmt_list *list,
                           struct error *err)
{
    int rc = 0;
    if (list->others && !s->replace)
        return error_set(err, EEXIST,
                         "riscv64 programs are given to %s already (handler %s): "
                         "--replace removes that",
                         list->interpreter, list->names[list->others - 1]);
    for (unsigned i = 0; i < list->others && !rc; i++)
        rc = binfmt_remove(list->names[i], err);
    if (!rc && list->own)
        rc = binfmt_remove(OWN_NAME, err);
    return rc;
}

static int binfmt_install(const struct binfmt_settings *s, struct binfmt_list *list,
                          struct error *err)
{
    char path[PATH_MAX];
    int rc = binfmt_mount(err);
    rc = rc ? rc : binfmt_self(path, err);
    rc = rc ? rc : binfmt_each(list_add, list, err);
    rc = rc ? rc : install_replace(s, list, err);
    rc = rc ? rc : binfmt_register(OWN_NAME, path, s->credentials ? FLAGS_CREDENTIALS : FLAGS, err);
    if (!rc && !binfmt_enabled())
        fputs("guise: registered, but binfmt_misc is switched off: "
              "write 1 to " BINFMT_DIR "/status\n",
              stderr);
    return rc ? fail_usage(err->msg) : 0;
}

/* ---- remove ---- */

static int binfmt_uninstall(const struct binfmt_settings *s, struct binfmt_list *list,
                            struct error *err)
{
    (void)s;
    int rc = binfmt_mount(err);
    rc = rc ? rc : binfmt_each(list_add, list, err);
    if (!rc && list->own)
        rc = binfmt_remove(OWN_NAME, err);
    return rc ? fail_usage(err->msg) : 0;
}

/* ---- status ---- */

static void status_one(void *ctx, const struct binfmt_handler *h)
{
    (void)ctx;
    printf("%-13s %s, flags %s%s\n", h->name, h->interpreter, h->flags,
           h->enabled ? "" : ", switched off");
}

/* The kernel holds the file that there was when it was registered. */
static void status_warn(const struct binfmt_list *list)
{
    char path[PATH_MAX];
    if (list->own && !binfmt_self(path, NULL) && strcmp(path, list->handler.interpreter))
        printf("%-13s is not this guise, which is %s\n", OWN_NAME, path);
    if (!binfmt_enabled())
        puts("binfmt_misc   is switched off");
}

static int binfmt_status(const struct binfmt_settings *s, struct binfmt_list *list,
                         struct error *err)
{
    (void)s;
    if (binfmt_enabled() < 0) {
        puts("binfmt_misc   is not mounted at " BINFMT_DIR);
        return 1;
    }
    if (binfmt_each(status_one, NULL, err) || binfmt_each(list_add, list, err))
        return fail_usage(err->msg);
    if (!list->own && !list->others)
        puts("there is no handler for riscv64 programs");
    status_warn(list);
    return list->own && list->handler.enabled && binfmt_enabled() ? 0 : 1;
}

/* ---- the verb ---- */

static const struct {
    const char *name;
    int (*run)(const struct binfmt_settings *s, struct binfmt_list *list, struct error *err);
} binfmt_actions[] = {
    {"install", binfmt_install},
    {"remove", binfmt_uninstall},
    {"status", binfmt_status},
};

static int set_replace(void *ctx, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    ((struct binfmt_settings *)ctx)->replace = true;
    return 0;
}

static int set_credentials(void *ctx, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    ((struct binfmt_settings *)ctx)->credentials = true;
    return 0;
}

static const struct option binfmt_options[] = {
    {"replace", NULL, "install: remove other handlers of riscv64 programs", set_replace},
    {"credentials", NULL,
     "install: programs with set-user-ID get their rights, as sudo and su need; guise runs with "
     "them then, so it must be a file that only root can write (flag C)",
     set_credentials},
    {NULL, NULL, NULL, NULL},
};

static int set_action(void *ctx, const char *value, struct error *err)
{
    struct binfmt_settings *s = ctx;
    if (s->action)
        return error_set(err, EINVAL, "unexpected argument '%s'", value);
    s->action = value;
    return 0;
}

static int run_binfmt(int argc, char **argv)
{
    struct binfmt_settings s = {0};
    struct error err = {0};
    if (options_parse(binfmt_options, argc, argv, &s, set_action, &err))
        return fail_usage(err.msg);
    for (size_t i = 0; s.action && i < sizeof binfmt_actions / sizeof binfmt_actions[0]; i++) {
        if (strcmp(s.action, binfmt_actions[i].name))
            continue;
        struct binfmt_list *list = calloc(1, sizeof *list);
        int code =
            list ? binfmt_actions[i].run(&s, list, &err) : fail_usage("out of memory for a list");
        free(list);
        return code;
    }
    return fail_usage("binfmt needs to be told what: guise binfmt install, remove or status");
}

static void binfmt_help(FILE *out)
{
    fputs("\nThe kernel gives a program that it cannot run itself to a handler. With guise as the\n"
          "handler, riscv64 programs run by their name, also in every chroot and container: this\n"
          "one file is all that is needed, and the kernel opens it when it is installed. A newer\n"
          "guise is installed again.\n\n"
          "  install  registers this guise, in place of one that was there (needs root)\n"
          "  remove   takes it back (needs root)\n"
          "  status   which handlers riscv64 programs have; 1 as exit code when it is not guise\n"
          "\noptions:\n",
          out);
    options_help(binfmt_options, out);
    fputs("\nWhat is installed holds until the system starts again. binfmt_misc is mounted at\n"
          "/proc/sys/fs/binfmt_misc if it is not. In a user namespace with a mount of its own, it\n"
          "holds there (Linux 6.7 and later). A handler takes no options; it uses translations of\n"
          "earlier runs, and keeps its own, only where the directory for them exists ('guise help\n"
          "cache'). Linux 5.12 or later.\n",
          out);
}

const struct verb verb_binfmt = {
    .name = "binfmt",
    .usage = "binfmt [OPTION]... install|remove|status",
    .summary = "let the kernel run riscv64 programs by guise",
    .run = run_binfmt,
    .help = binfmt_help,
};
