#include "chr/terminal.h"
#include "cli/options.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"
#include "net/net.h"
#include "vmm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct run_settings {
    struct vm_config vm;
    struct sandbox sandbox;
    bool stats;
    const char *dump_dtb;
    const char *save;
    const char *lockstep;           /* "ENGINE,ENGINE", NULL: no */
    char *disk_paths[VM_MAX_DISKS]; /* without what follows the comma */
};

/* ---- options ---- */

#define SET_STRING(name, member)                                           \
    static int set_##name(void *ctx, const char *value, struct error *err) \
    {                                                                      \
        (void)err;                                                         \
        ((struct run_settings *)ctx)->member = value;                      \
        return 0;                                                          \
    }

#define SET_SWITCH(name, member)                                           \
    static int set_##name(void *ctx, const char *value, struct error *err) \
    {                                                                      \
        (void)value;                                                       \
        (void)err;                                                         \
        ((struct run_settings *)ctx)->member = true;                       \
        return 0;                                                          \
    }

SET_STRING(engine, vm.engine)
SET_STRING(kernel, vm.kernel)
SET_STRING(initrd, vm.initrd)
SET_STRING(append, vm.append)
SET_STRING(firmware, vm.firmware)
SET_STRING(console, vm.console)
SET_STRING(gdb, vm.gdb)
SET_STRING(load, vm.load)
SET_STRING(save, save)
SET_STRING(dump_code, vm.dump)
SET_STRING(lockstep, lockstep)
SET_STRING(dump_dtb, dump_dtb)
SET_SWITCH(deterministic, vm.deterministic)
SET_SWITCH(stats, stats)

static int set_cpus(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    uint64_t n;
    if (parse_number(value, 1, 64, &n, err))
        return error_prefix(err, "--cpus");
    s->vm.cpus = (unsigned)n;
    return 0;
}

static int set_code_cache(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    return parse_code_cache(value, &s->vm.code_cache, err) ? error_prefix(err, "--code-cache") : 0;
}

static int set_memory(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    return parse_size(value, &s->vm.memory, err) ? error_prefix(err, "--memory") : 0;
}

static int set_run_for(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    return parse_number(value, 1, INT64_MAX, &s->vm.run_for, err) ? error_prefix(err, "--run-for")
                                                                  : 0;
}

/* Which of two words a value is. */
static int parse_choice(const char *value, const char *off, const char *on, bool *choice,
                        struct error *err)
{
    *choice = !strcmp(value, on);
    return *choice || !strcmp(value, off)
               ? 0
               : error_set(err, EINVAL, "'%s' is neither %s nor %s", value, off, on);
}

static int set_bus(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    return parse_choice(value, "mmio", "pci", &s->vm.pci, err) ? error_prefix(err, "--bus") : 0;
}

static int set_irqchip(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    return parse_choice(value, "plic", "aia", &s->vm.aia, err) ? error_prefix(err, "--irqchip") : 0;
}

static int set_mmu(void *ctx, const char *value, struct error *err)
{
    static const struct {
        const char *name;
        unsigned bits;
    } modes[] = {{"sv39", 39}, {"sv48", 48}, {"sv57", 57}};
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (!strcmp(value, modes[i].name)) {
            ((struct run_settings *)ctx)->vm.address_bits = modes[i].bits;
            return 0;
        }
    return error_set(err, EINVAL, "--mmu: '%s' is none of sv39, sv48, sv57", value);
}

static int set_disk(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    if (s->vm.disk_count == VM_MAX_DISKS)
        return error_set(err, EINVAL, "--disk: the machine takes up to %d", VM_MAX_DISKS);
    char *path = strdup(value);
    if (!path)
        return error_set(err, ENOMEM, "out of memory for --disk %s", value);
    s->disk_paths[s->vm.disk_count] = path;
    struct vm_disk *disk = &s->vm.disks[s->vm.disk_count++];
    /* From the end, so that a name may have commas of its own. */
    for (char *comma; (comma = strrchr(path, ',')); *comma = 0) {
        if (!strcmp(comma, ",readonly"))
            disk->readonly = true;
        else if (!strncmp(comma, ",format=", 8))
            disk->format = comma + 8;
        else
            break;
    }
    disk->path = path;
    return *path ? 0 : error_set(err, EINVAL, "--disk needs a file");
}

static int set_net(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    if (s->vm.net_count == VM_MAX_NETS)
        return error_set(err, EINVAL, "--net: the machine takes up to %d", VM_MAX_NETS);
    s->vm.nets[s->vm.net_count++] = value;
    return net_check(value, err) ? error_prefix(err, "--net") : 0;
}

static int set_sandbox(void *ctx, const char *value, struct error *err)
{
    return sandbox_set(&((struct run_settings *)ctx)->sandbox, value, err);
}

static int set_user(void *ctx, const char *value, struct error *err)
{
    return sandbox_set_user(&((struct run_settings *)ctx)->sandbox, value, err);
}

static const struct option run_options[] = {
    {"kernel", "FILE", "Linux Image or ELF file to boot", set_kernel},
    {"initrd", "FILE", "initial RAM disk for the kernel", set_initrd},
    {"append", "TEXT", "the kernel's command line", set_append},
    {"firmware", "FILE",
     "M-mode firmware (OpenSBI, U-Boot, a bare program) for the start of memory; without it guise "
     "answers SBI calls itself",
     set_firmware},
    {"cpus", "N", "harts, 1 to 64 (default 1)", set_cpus},
    {"memory", "SIZE", "memory, for example 512M or 2G (default 256M)", set_memory},
    {"disk", "FILE[,readonly][,format=raw|qcow2]",
     "a disk image as a virtio disk; up to 7 times. Without a format qcow2 is known by its first "
     "bytes, and the guest cannot write them to a raw disk",
     set_disk},
    {"net", "SPEC",
     "network card: user (NAT; hostfwd=tcp:[ADDR:]PORT-[ADDR:]PORT, restrict, host), "
     "tap,ifname=NAME, switch=PATH (with other machines), none; all take mac=, mtu= and pcap=FILE; "
     "may be repeated; docs/networks.md",
     set_net},
    {"bus", "mmio|pci",
     "where the virtio devices are: in the slots of memory (default), or on PCI Express", set_bus},
    {"irqchip", "plic|aia",
     "interrupt controllers: a PLIC (default), or an APLIC and IMSICs, with which devices on PCI "
     "send their interrupts as messages",
     set_irqchip},
    {"console", "SPEC",
     "serial port: stdio (default; Ctrl-A x ends, Ctrl-A h helps), stdout (no input), none, "
     "file:PATH, pty",
     set_console},
    {"engine", "NAME", "how guest code runs: auto (default), interp, or dbt (x86-64 hosts)",
     set_engine},
    {"code-cache", "SIZE",
     "memory for translated code of each cpu, 1M to 1G (default 64M); when it is full it starts "
     "over",
     set_code_cache},
    {"mmu", "MODE", "largest virtual addresses offered: sv39 (default), sv48, sv57", set_mmu},
    {"gdb", "PORT|unix:PATH", "wait for a debugger at a local TCP port or socket", set_gdb},
    {"deterministic", NULL,
     "guest time counts instructions, entropy and date are fixed: runs repeat exactly",
     set_deterministic},
    {"run-for", "NS", "with --deterministic: stop when guest time has come to so many nanoseconds",
     set_run_for},
    {"save", "FILE", "write the machine's state at the end of --run-for", set_save},
    {"load", "FILE", "start from saved state; give the other options as they were then", set_load},
    {"lockstep", "ENGINE,ENGINE",
     "run two machines side by side, deterministic and without input, and stop at the first "
     "instruction after which they differ: then the exit code is 3",
     set_lockstep},
    {"sandbox", "on|off",
     "take from the process what the machine does not need (default on): files, networks, "
     "programs, "
     "privileges; docs/confinement.md",
     set_sandbox},
    {"user", "NAME|UID[:GID]",
     "who guise becomes for the guest when root starts it (default 65534, nobody)", set_user},
    {"stats", NULL, "print what was done, and a hash of the final state, at the end", set_stats},
    {"dump-code", "FILE",
     "write what the translator compiles, for tools/hot-code; with --engine dbt", set_dump_code},
    {"dump-dtb", "FILE", "write the device tree and do not run", set_dump_dtb},
    {NULL, NULL, NULL, NULL},
};

static void run_help(FILE *out)
{
    fputs("\noptions:\n", out);
    options_help(run_options, out);
}

/* ---- the verb ---- */

static int dump_dtb(struct vm *vm, const char *path, struct error *err)
{
    size_t size;
    const void *dtb = vm_device_tree(vm, &size);
    FILE *f = fopen(path, "wbe");
    if (!f)
        return error_set(err, errno, "%s: cannot be written: %s", path, strerror(errno));
    bool ok = fwrite(dtb, 1, size, f) == size;
    ok &= !fclose(f);
    return ok ? 0 : error_set(err, EIO, "%s: cannot be written", path);
}

static void print_stats(struct vm *vm)
{
    struct vm_stats s;
    vm_stats(vm, &s);
    double seconds = (double)s.host_ns / 1e9;
    fprintf(stderr,
            "instructions  %llu (%.1f million/s)\n"
            "traps         %llu\n"
            "tlb misses    %llu\n"
            "decoded       %llu instructions, %llu pages\n"
            "guest time    %.6f s\n"
            "host time     %.6f s\n"
            "resident      %llu KiB, %llu KiB of zeros given back\n"
            "state hash    %016llx\n",
            (unsigned long long)s.engine.instructions,
            seconds > 0 ? (double)s.engine.instructions / seconds / 1e6 : 0,
            (unsigned long long)s.engine.traps, (unsigned long long)s.engine.tlb_misses,
            (unsigned long long)s.engine.decoded, (unsigned long long)s.engine.code_pages,
            (double)s.guest_ns / 1e9, seconds, (unsigned long long)s.resident_kib,
            (unsigned long long)s.given_back_kib, (unsigned long long)vm_hash(vm));
    struct net_stats n;
    for (unsigned i = 0; vm_net_stats(vm, i, &n); i++)
        fprintf(stderr,
                "net%u          in %llu frames, %llu bytes, %llu dropped; out %llu frames, %llu "
                "bytes, %llu dropped\n",
                i, (unsigned long long)n.rx_frames, (unsigned long long)n.rx_bytes,
                (unsigned long long)n.rx_dropped, (unsigned long long)n.tx_frames,
                (unsigned long long)n.tx_bytes, (unsigned long long)n.tx_dropped);
    if (s.engine.regions)
        engine_stats_print_translator(&s.engine, stderr);
}

/* The code of a guest that failed: its own, but never a success. */
static int guest_code(unsigned code)
{
    return code & 0xff ? (int)(code & 0xff) : 1;
}

static int run_machine(struct run_settings *s, struct vm *vm, struct error *err)
{
    if (vm_console_path(vm) && !strcmp(s->vm.console, "pty"))
        fprintf(stderr, "guise: the console is at %s\n", vm_console_path(vm));
    if (vm_gdb_port(vm))
        fprintf(stderr, "guise: waiting for a debugger at port %u of localhost\n", vm_gdb_port(vm));
    struct vm_result result;
    if (sandbox_enter(&s->sandbox, vm, s->save, err) || vm_run(vm, &result, err))
        return EXIT_USAGE;
    if (s->save && vm_save(vm, s->save, err))
        return EXIT_USAGE;
    if (s->stats) {
        print_stats(vm);
        sandbox_print(&s->sandbox, stderr);
    }
    return result.end == VM_END_FAILURE ? guest_code(result.code) : 0;
}

/* ---- lockstep ---- */

#define EXIT_DIFFERENT 3

/* The second machine is as the first, but for the engine, and says nothing. */
static struct vm *lockstep_machine(const struct run_settings *s, bool second, struct error *err)
{
    struct vm_config config = s->vm;
    const char *comma = strchr(s->lockstep, ',');
    char first[32];
    snprintf(first, sizeof first, "%.*s", (int)(comma - s->lockstep), s->lockstep);
    config.engine = second ? comma + 1 : first;
    config.deterministic = true;
    if (second)
        config.console = "none";
    else if (!strcmp(config.console, "stdio"))
        config.console = "stdout";
    return vm_new(&config, err);
}

static int lockstep_check(const struct run_settings *s, struct error *err)
{
    const char *comma = strchr(s->lockstep, ',');
    if (!comma || comma - s->lockstep > 16)
        return error_set(err, EINVAL, "--lockstep: '%s' is not two engines, as in interp,dbt",
                         s->lockstep);
    if (s->save || !strcmp(s->vm.console, "pty"))
        return error_set(err, EINVAL, "--lockstep saves no state and takes no input from a pty");
    for (unsigned i = 0; i < s->vm.disk_count; i++)
        if (!s->vm.disks[i].readonly)
            return error_set(
                err, EINVAL,
                "--lockstep: two machines cannot both write %s; give it as %s,readonly",
                s->vm.disks[i].path, s->vm.disks[i].path);
    return 0;
}

static int run_lockstep(struct run_settings *s, struct error *err)
{
    if (lockstep_check(s, err))
        return EXIT_USAGE;
    struct vm_lockstep l = {0};
    struct vm *second = NULL, *first = lockstep_machine(s, false, err);
    if (first)
        second = lockstep_machine(s, true, err);
    int code = EXIT_USAGE;
    if (second && !sandbox_enter(&s->sandbox, first, NULL, err) &&
        !vm_lockstep_run(first, second, &l, stderr, err)) {
        code = l.result.end == VM_END_FAILURE ? guest_code(l.result.code) : 0;
        code = l.different ? EXIT_DIFFERENT : code;
        if (s->stats)
            print_stats(first);
    }
    vm_free(second);
    vm_free(first);
    return code;
}

static int run_settings(struct run_settings *s, struct error *err)
{
    if (s->lockstep)
        return run_lockstep(s, err);
    if (s->save && !s->vm.run_for) {
        error_set(err, EINVAL, "--save needs --run-for, which says when");
        return EXIT_USAGE;
    }
    if (s->dump_dtb)
        s->vm.console = "none";
    struct vm *vm = vm_new(&s->vm, err);
    if (!vm)
        return EXIT_USAGE;
    int code;
    if (s->dump_dtb)
        code = dump_dtb(vm, s->dump_dtb, err) ? EXIT_USAGE : 0;
    else
        code = run_machine(s, vm, err);
    vm_free(vm);
    return code;
}

static int run_run(int argc, char **argv)
{
    struct run_settings s = {0};
    struct error err = {0};
    vm_config_init(&s.vm);
    sandbox_init(&s.sandbox);
    terminal_catch_signals();
    int code = EXIT_USAGE;
    if (!options_parse(run_options, argc, argv, &s, NULL, &err))
        code = run_settings(&s, &err);
    for (unsigned i = 0; i < VM_MAX_DISKS; i++)
        free(s.disk_paths[i]);
    return err.code ? fail_usage(err.msg) : code;
}

const struct verb verb_run = {
    .name = "run",
    .usage = "run [OPTION]... --kernel FILE",
    .summary = "run a virtual machine",
    .run = run_run,
    .help = run_help,
};
