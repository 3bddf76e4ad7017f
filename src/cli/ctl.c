/* Machines that run, from outside: `guise ctl` and `guise ps`, over their control sockets. */
#include "cli/options.h"
#include "cli/verbs.h"
#include "ctl/client.h"
#include "ctl/command.h"
#include "ctl/place.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_REFUSED 1

/* ---- printing an answer ---- */

static void print_value(const char *path, const json_t *value);

static void print_member(const char *path, const char *name, const json_t *value)
{
    char full[200];
    snprintf(full, sizeof full, "%s%s%s", path, *path ? "." : "", name);
    print_value(full, value);
}

static void print_elements(const char *path, const json_t *list)
{
    char full[200];
    for (size_t i = 0; i < json_array_size(list); i++) {
        snprintf(full, sizeof full, "%s[%zu]", path, i);
        print_value(full, json_array_get(list, i));
    }
}

/* A line for each number, text and switch: where it is in the answer, then what it is. */
static void print_value(const char *path, const json_t *value)
{
    const char *key;
    json_t *member;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
            print_member(path, key, member);
    } else if (json_is_array(value)) {
        print_elements(path, value);
    } else if (json_is_string(value)) {
        printf("%-24s %s\n", path, json_string_value(value));
    } else if (json_is_integer(value)) {
        printf("%-24s %" JSON_INTEGER_FORMAT "\n", path, json_integer_value(value));
    } else {
        printf("%-24s %s\n", path, json_is_true(value) ? "yes" : "no");
    }
}

/* ---- ctl ---- */

struct ctl_settings {
    bool json;
};

static int set_json(void *ctx, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    ((struct ctl_settings *)ctx)->json = true;
    return 0;
}

static const struct option ctl_options[] = {
    {"json", NULL, "print the result as JSON", set_json},
    {NULL, NULL, NULL, NULL},
};

/* The words after the command as its arguments, in the order of its table. */
static int ctl_arguments(const struct ctl_command *c, int argc, char **argv, json_t *args,
                         struct error *err)
{
    int n = 0;
    for (const struct ctl_arg *a = c->args; a->name; a++, n++) {
        uint64_t number;
        if (n >= argc)
            return error_set(err, EINVAL, "%s needs a value: %s", c->name, a->value);
        json_t *value = NULL;
        if (a->kind == CTL_TEXT)
            value = json_string(argv[n]);
        else if (a->kind == CTL_SIZE ? parse_size(argv[n], &number, err)
                                     : parse_number(argv[n], 0, INT64_MAX, &number, err))
            return error_prefix(err, "%s", c->name);
        else
            value = json_integer((json_int_t)number);
        int rc = ctl_arg_check(a, value, err);
        json_object_set_new(args, a->name, value);
        if (rc)
            return error_prefix(err, "%s", c->name);
    }
    return n == argc ? 0 : error_set(err, EINVAL, "%s: unexpected argument '%s'", c->name, argv[n]);
}

static int ctl_ask(const char *name, const char *command, json_t *args, json_t **result,
                   struct error *err)
{
    char path[CTL_PATH_SIZE];
    int fd = ctl_path(name, path, err);
    if (fd)
        return fd;
    fd = ctl_connect(path, err);
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return error_set(err, -fd, "no machine '%s' is running; 'guise ps' lists those that are",
                         name);
    if (fd < 0)
        return fd;
    int rc = ctl_call(fd, command, args, result, err);
    close(fd);
    return rc;
}

static int ctl_run(const struct ctl_settings *s, int argc, char **argv, struct error *err)
{
    if (argc < 2)
        return error_set(err, EINVAL, "a machine's name and a command are needed: guise %s",
                         verb_ctl.usage);
    const struct ctl_command *c = ctl_command_find(argv[1]);
    if (!c)
        return error_set(err, EINVAL, "there is no command '%s'; 'guise help ctl' lists them",
                         argv[1]);
    json_t *args = json_object(), *result = NULL;
    int rc = ctl_arguments(c, argc - 2, argv + 2, args, err);
    if (!rc)
        rc = ctl_ask(argv[0], c->name, args, &result, err);
    if (!rc && s->json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (!rc) {
        print_value("", result);
    }
    json_decref(result);
    json_decref(args);
    return rc;
}

static int run_ctl(int argc, char **argv)
{
    struct ctl_settings s = {0};
    struct error err = {0};
    int first;
    int rc = options_parse_first(ctl_options, argc, argv, &s, &first, &err);
    if (!rc)
        rc = ctl_run(&s, argc - first, argv + first, &err);
    if (!rc)
        return 0;
    fail_usage(err.msg);
    return rc == -EINVAL ? EXIT_USAGE : EXIT_REFUSED;
}

static void ctl_help(FILE *out)
{
    fputs("\nNAME is what 'guise ps' prints, or the path of a socket, with a slash.\n\ncommands:\n",
          out);
    for (const struct ctl_command *c = ctl_commands; c->name; c++) {
        char words[64];
        int n = snprintf(words, sizeof words, "%s", c->name);
        for (const struct ctl_arg *a = c->args; a->name && n < (int)sizeof words; a++)
            n += snprintf(words + n, sizeof words - (size_t)n, " %s", a->value);
        fprintf(out, "  %-23s %s\n", words, c->help);
    }
    fputs("\noptions, before NAME:\n", out);
    options_help(ctl_options, out);
    fputs("\nexit codes: 0 done, 1 no such machine, or it refuses, 2 wrong usage\n", out);
}

const struct verb verb_ctl = {
    .name = "ctl",
    .usage = "ctl [--json] NAME COMMAND [VALUE]...",
    .summary = "ask or change a running machine",
    .run = run_ctl,
    .help = ctl_help,
};

/* ---- ps ---- */

/* One that does not answer is listed all the same; what nobody serves is removed. */
static void ps_machine(const char *name)
{
    json_t *status = NULL;
    struct error err = {0};
    int rc = ctl_ask(name, "status", NULL, &status, &err);
    const char *state, *engine;
    json_int_t pid, cpus, memory, ns;
    if (rc == -ECONNREFUSED || rc == -ENOENT) {
        char path[CTL_PATH_SIZE];
        if (!ctl_path(name, path, NULL))
            ctl_forget(path);
        return;
    }
    if (rc || json_unpack(status, "{s:s, s:I, s:s, s:I, s:I, s:I}", "state", &state, "pid", &pid,
                          "engine", &engine, "cpus", &cpus, "memory", &memory, "host_ns", &ns)) {
        printf("%-20s %8s %s\n", name, "?", rc ? err.msg : "gives no status that can be read");
    } else {
        json_int_t s = ns / 1000000000;
        printf("%-20s %8lld %-10.10s %-7s %4lld %7lldM %3lld:%02lld:%02lld\n", name, pid, state,
               engine, cpus, memory >> 20, s / 3600, s / 60 % 60, s % 60);
    }
    json_decref(status);
}

static int run_ps(int argc, char **argv)
{
    char dir[CTL_PATH_SIZE], name[CTL_NAME_MAX + 1];
    struct error err;
    (void)argv;
    if (argc)
        return fail_usage("ps takes no arguments");
    if (ctl_directory(dir, false, &err))
        return fail_usage(err.msg);
    printf("%-20s %8s %-10s %-7s %4s %8s %9s\n", "NAME", "PID", "STATE", "ENGINE", "CPUS", "MEMORY",
           "TIME");
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (ctl_name_of(entries[i]->d_name, name))
            ps_machine(name);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return 0;
}

const struct verb verb_ps = {
    .name = "ps",
    .usage = "ps",
    .summary = "list the running machines",
    .run = run_ps,
};
