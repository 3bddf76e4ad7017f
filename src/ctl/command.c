#include "ctl/command.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *ctl_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char *copy = strdup(text);
    for (char *p = copy; p && *p; p++)
        if (*p & 0x80)
            *p = '?';
    value = copy ? json_string(copy) : NULL;
    free(copy);
    return value;
}

static void put_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void put_text(json_t *object, const char *name, const char *value)
{
    json_object_set_new(object, name, ctl_text(value));
}

static void put_bool(json_t *object, const char *name, bool value)
{
    json_object_set_new(object, name, json_boolean(value));
}

/* ---- what it is and does ---- */

static int run_status(const struct ctl_machine *m, const json_t *args, json_t *result,
                      struct error *err)
{
    static const char *const states[] = {
        [VM_RUNNING] = "running", [VM_PAUSED] = "paused", [VM_DEBUGGED] = "stopped", /* by the
                                                                                        debugger */
    };
    const struct vm_config *c = vm_config(m->vm);
    (void)args;
    (void)err;
    put_text(result, "name", m->name);
    put_text(result, "state", states[vm_activity(m->vm)]);
    put_number(result, "pid", (uint64_t)getpid());
    put_text(result, "engine", vm_engine_name(m->vm));
    put_number(result, "cpus", c->cpus);
    put_number(result, "memory", c->memory);
    put_bool(result, "deterministic", c->deterministic);
    put_number(result, "guest_ns", vm_guest_ns(m->vm));
    put_number(result, "host_ns", vm_host_ns(m->vm));
    put_text(result, "version", m->version);
    return 0;
}

static int run_commands(const struct ctl_machine *m, const json_t *args, json_t *result,
                        struct error *err)
{
    json_t *list = json_array();
    (void)m;
    (void)args;
    (void)err;
    for (const struct ctl_command *c = ctl_commands; c->name; c++) {
        json_t *one = json_object(), *names = json_array();
        put_text(one, "name", c->name);
        put_text(one, "help", c->help);
        for (const struct ctl_arg *a = c->args; a->name; a++)
            json_array_append_new(names, json_string(a->name));
        json_object_set_new(one, "arguments", names);
        json_array_append_new(list, one);
    }
    json_object_set_new(result, "commands", list);
    return 0;
}

static json_t *disk_info(const struct ctl_machine *m, unsigned i, bool counters)
{
    struct vm_disk_info d;
    char name[24];
    if (!vm_disk_info(m->vm, i, &d))
        return NULL;
    json_t *one = json_object();
    snprintf(name, sizeof name, "disk%u", i);
    put_text(one, "disk", name);
    if (!counters) {
        put_text(one, "file", d.path);
        put_text(one, "format", d.format);
        put_number(one, "size", d.size);
        put_bool(one, "readonly", d.readonly);
        return one;
    }
    put_number(one, "reads", d.reads);
    put_number(one, "read_bytes", d.read_bytes);
    put_number(one, "writes", d.writes);
    put_number(one, "write_bytes", d.write_bytes);
    put_number(one, "flushes", d.flushes);
    put_number(one, "discards", d.discards);
    put_number(one, "errors", d.errors);
    return one;
}

static json_t *net_info(const struct ctl_machine *m, unsigned i, bool counters)
{
    struct net_stats n;
    char name[24];
    if (!vm_net_stats(m->vm, i, &n))
        return NULL;
    json_t *one = json_object();
    snprintf(name, sizeof name, "net%u", i);
    put_text(one, "net", name);
    if (!counters) {
        put_text(one, "network", vm_config(m->vm)->nets[i]);
        put_text(one, "link", vm_link(m->vm, i) ? "up" : "down");
        return one;
    }
    put_number(one, "rx_frames", n.rx_frames);
    put_number(one, "rx_bytes", n.rx_bytes);
    put_number(one, "rx_dropped", n.rx_dropped);
    put_number(one, "tx_frames", n.tx_frames);
    put_number(one, "tx_bytes", n.tx_bytes);
    put_number(one, "tx_dropped", n.tx_dropped);
    return one;
}

static void put_list(const struct ctl_machine *m, json_t *result, const char *name, bool counters,
                     json_t *(*info)(const struct ctl_machine *m, unsigned i, bool counters))
{
    json_t *list = json_array(), *one;
    for (unsigned i = 0; (one = info(m, i, counters)); i++)
        json_array_append_new(list, one);
    json_object_set_new(result, name, list);
}

static int run_disks(const struct ctl_machine *m, const json_t *args, json_t *result,
                     struct error *err)
{
    (void)args;
    (void)err;
    put_list(m, result, "disks", false, disk_info);
    return 0;
}

static int run_nets(const struct ctl_machine *m, const json_t *args, json_t *result,
                    struct error *err)
{
    (void)args;
    (void)err;
    put_list(m, result, "nets", false, net_info);
    return 0;
}

/* The engine's counters that mean something without knowing it. */
static const struct {
    const char *name;
    size_t offset;
} engine_counters[] = {
#define COUNTER(member)                                \
    {                                                  \
#member, offsetof(struct engine_stats, member) \
    }
    COUNTER(instructions), COUNTER(traps),        COUNTER(tlb_misses), COUNTER(decoded),
    COUNTER(code_pages),   COUNTER(regions),      COUNTER(given_up),   COUNTER(code_bytes),
    COUNTER(compile_ns),   COUNTER(region_insns), COUNTER(loaded),     COUNTER(starts_over),
};

/* What the guest last said; it is asked for the next time. */
static json_t *balloon_info(const struct ctl_machine *m)
{
    struct virtio_balloon_stats b;
    if (!vm_balloon_stats(m->vm, &b))
        return json_null();
    json_t *one = json_object();
    put_number(one, "target", b.target);
    put_number(one, "actual", b.actual);
    put_number(one, "given_back", b.given_back);
    for (unsigned i = 0; i < VIRTIO_BALLOON_STATS; i++)
        if (b.known >> i & 1)
            put_number(one, virtio_balloon_stat_name(i), b.values[i]);
    vm_balloon_ask(m->vm);
    return one;
}

static int run_stats(const struct ctl_machine *m, const json_t *args, json_t *result,
                     struct error *err)
{
    struct vm_stats s;
    json_t *engine = json_object();
    (void)args;
    (void)err;
    vm_stats(m->vm, &s);
    put_number(result, "guest_ns", s.guest_ns);
    put_number(result, "host_ns", s.host_ns);
    put_number(result, "resident_kib", s.resident_kib);
    put_number(result, "given_back_kib", s.given_back_kib);
    for (unsigned i = 0; i < ARRAY_SIZE(engine_counters); i++) {
        uint64_t value;
        memcpy(&value, (const char *)&s.engine + engine_counters[i].offset, sizeof value);
        put_number(engine, engine_counters[i].name, value);
    }
    json_object_set_new(result, "engine", engine);
    put_list(m, result, "disks", true, disk_info);
    put_list(m, result, "nets", true, net_info);
    json_object_set_new(result, "balloon", balloon_info(m));
    return 0;
}

/* ---- changing it ---- */

static int run_pause(const struct ctl_machine *m, const json_t *args, json_t *result,
                     struct error *err)
{
    (void)args;
    (void)result;
    (void)err;
    vm_hold(m->vm);
    return 0;
}

static int run_resume(const struct ctl_machine *m, const json_t *args, json_t *result,
                      struct error *err)
{
    (void)args;
    (void)result;
    (void)err;
    vm_release(m->vm);
    return 0;
}

static int run_power_button(const struct ctl_machine *m, const json_t *args, json_t *result,
                            struct error *err)
{
    (void)args;
    (void)result;
    return vm_press_power(m->vm)
               ? 0
               : error_set(
                     err, ENODEV,
                     "the guest has no driver for the power button (virtio_input): log in and "
                     "switch it off, or use quit");
}

static int run_reset(const struct ctl_machine *m, const json_t *args, json_t *result,
                     struct error *err)
{
    (void)args;
    (void)result;
    return vm_restart(m->vm, err);
}

static int run_quit(const struct ctl_machine *m, const json_t *args, json_t *result,
                    struct error *err)
{
    (void)args;
    (void)result;
    (void)err;
    vm_quit(m->vm);
    return 0;
}

static int run_link(const struct ctl_machine *m, const json_t *args, json_t *result,
                    struct error *err)
{
    const char *net = json_string_value(json_object_get(args, "net"));
    const char *state = json_string_value(json_object_get(args, "state"));
    unsigned n;
    char end;
    (void)result;
    if (strlen(net) > 5 || sscanf(net, "net%u%c", &n, &end) != 1 ||
        vm_set_link(m->vm, n, !strcmp(state, "up")))
        return error_set(err, ENODEV, "the machine has no network card '%s'; nets lists them", net);
    return 0;
}

static int run_balloon(const struct ctl_machine *m, const json_t *args, json_t *result,
                       struct error *err)
{
    json_int_t size = json_integer_value(json_object_get(args, "size"));
    (void)result;
    return vm_set_balloon(m->vm, (uint64_t)size)
               ? error_set(err, ENODEV,
                           "the machine has no balloon: it was left out, or the "
                           "machine is deterministic")
               : 0;
}

/* ---- the table ---- */

/* A new command is a row here, and its section in docs/control.md. */
const struct ctl_command ctl_commands[] = {
    {"status", "what the machine is and whether it runs", {{0}}, run_status},
    {"pause", "stop all harts and guest time", {{0}}, run_pause},
    {"resume", "go on after a pause", {{0}}, run_resume},
    {"power-button",
     "press the power button: the guest decides what to do",
     {{0}},
     run_power_button},
    {"reset", "start again from power-on, at once", {{0}}, run_reset},
    {"quit", "end the machine at once, as if its plug were pulled", {{0}}, run_quit},
    {"link",
     "plug a network card's cable in or out",
     {{"net", CTL_TEXT, "NET"}, {"state", CTL_TEXT, "up|down"}},
     run_link},
    {"balloon",
     "ask the guest to do without so much of its memory",
     {{"size", CTL_SIZE, "SIZE"}},
     run_balloon},
    {"stats", "counters of engine, disks, networks and memory", {{0}}, run_stats},
    {"disks", "list the disks", {{0}}, run_disks},
    {"nets", "list the network cards", {{0}}, run_nets},
    {"commands", "list the commands", {{0}}, run_commands},
    {NULL, NULL, {{0}}, NULL},
};

const struct ctl_command *ctl_command_find(const char *name)
{
    for (const struct ctl_command *c = ctl_commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

/* Is the word one of those between the bars? */
static bool word_among(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words;; p++) {
        size_t n = strcspn(p, "|");
        if (n == len && !memcmp(p, word, n))
            return true;
        p += n;
        if (!*p)
            return false;
    }
}

int ctl_arg_check(const struct ctl_arg *a, const json_t *value, struct error *err)
{
    if (a->kind != CTL_TEXT)
        return json_is_integer(value) && json_integer_value(value) >= 0
                   ? 0
                   : error_set(err, EINVAL, "'%s' must be a number, 0 or more", a->name);
    if (!json_is_string(value))
        return error_set(err, EINVAL, "'%s' must be a string", a->name);
    const char *text = json_string_value(value);
    if (strchr(a->value, '|') && !word_among(a->value, text))
        return error_set(err, EINVAL, "'%s' is '%.40s': it must be one of %s", a->name, text,
                         a->value);
    return 0;
}
