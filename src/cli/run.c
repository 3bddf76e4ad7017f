#include "block/block.h"
#include "chr/port.h"
#include "chr/terminal.h"
#include "cli/cache.h"
#include "cli/description.h"
#include "cli/options.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"
#include "ctl/ctl.h"
#include "ctl/place.h"
#include "machine/firmware.h"
#include "net/net.h"
#include "share/share.h"
#include "store/archive.h"
#include "vmm/vm.h"
#include "vsock/vsock.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run_settings {
    struct vm_config vm;
    bool stats, print_config, no_cache;
    const char *name, *control; /* NULL: not given */
    const char *uefi;           /* file of variables, NULL: not given */
    struct option_log given;
    struct sandbox sandbox;
    const char *dump_dtb;
    const char *save;
    const char *lockstep; /* "ENGINE,ENGINE", NULL: no */
    const char *image;    /* the disk that the machine is about, NULL: none */
    char u_boot[PATH_MAX];
    bool cpus_given, memory_given;
    char *disk_paths[VM_MAX_DISKS]; /* without what follows the comma */
    char *flash_paths[VM_MAX_FLASH];
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
SET_STRING(control, control)
SET_STRING(uefi, uefi)
SET_SWITCH(deterministic, vm.deterministic)
SET_SWITCH(stats, stats)
SET_SWITCH(paused, vm.paused)
SET_SWITCH(print_config, print_config)
SET_SWITCH(no_cache, no_cache)

static int set_cpus(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    uint64_t n;
    if (parse_number(value, 1, 64, &n, err))
        return error_prefix(err, "--cpus");
    s->vm.cpus = (unsigned)n;
    s->cpus_given = true;
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
    s->memory_given = true;
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

/* FILE[,readonly][,format=NAME]. *owned is what disk then points to, and the caller's to free. */
static int parse_disk(const char *value, struct vm_disk *disk, char **owned, struct error *err)
{
    char *path = *owned = strdup(value);
    if (!path)
        return error_set(err, ENOMEM, "out of memory for %s", value);
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
    return *path ? 0 : error_set(err, EINVAL, "needs a file");
}

static int set_disk(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    unsigned i = s->vm.disk_count;
    if (i == VM_MAX_DISKS)
        return error_set(err, EINVAL, "--disk: the machine takes up to %d", VM_MAX_DISKS);
    s->vm.disk_count++;
    return parse_disk(value, &s->vm.disks[i], &s->disk_paths[i], err) ? error_prefix(err, "--disk")
                                                                      : 0;
}

static int set_pflash(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    unsigned i = s->vm.flash_count;
    if (i == VM_MAX_FLASH)
        return error_set(err, EINVAL, "--pflash: the machine takes up to %d", VM_MAX_FLASH);
    s->vm.flash_count++;
    return parse_disk(value, &s->vm.flash[i], &s->flash_paths[i], err)
               ? error_prefix(err, "--pflash")
               : 0;
}

static int set_net(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    if (s->vm.net_count == VM_MAX_NETS)
        return error_set(err, EINVAL, "--net: the machine takes up to %d", VM_MAX_NETS);
    s->vm.nets[s->vm.net_count++] = value;
    return net_check(value, err) ? error_prefix(err, "--net") : 0;
}

static int set_name(void *ctx, const char *value, struct error *err)
{
    ((struct run_settings *)ctx)->name = value;
    return ctl_name_valid(value)
               ? 0
               : error_set(err, EINVAL,
                           "--name: '%.80s' is not up to %d letters and digits, with . _ - after "
                           "the first",
                           value, CTL_NAME_MAX);
}

static int set_share(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    if (s->vm.share_count == VM_MAX_SHARES)
        return error_set(err, EINVAL, "--share: the machine takes up to %d", VM_MAX_SHARES);
    s->vm.shares[s->vm.share_count++] = value;
    return share_check(value, err) ? error_prefix(err, "--share") : 0;
}

static int set_vsock(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    s->vm.vsock = value;
    return vsock_check(value, err) ? error_prefix(err, "--vsock") : 0;
}

static int set_port(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    char name[CHR_PORT_NAME_MAX + 1];
    if (s->vm.port_count == VM_MAX_PORTS)
        return error_set(err, EINVAL, "--port: the machine takes up to %d", VM_MAX_PORTS);
    s->vm.ports[s->vm.port_count++] = value;
    return chr_port_check(value, name, err) ? error_prefix(err, "--port") : 0;
}

static int set_balloon(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    s->vm.balloon = strcmp(value, "off") ? VM_BALLOON_ON : VM_BALLOON_OFF;
    if (!strcmp(value, "off") || !strcmp(value, "on"))
        return 0;
    return parse_size(value, &s->vm.balloon_target, err) ? error_prefix(err, "--balloon") : 0;
}

static int set_image(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    if (s->image)
        return error_set(err, EINVAL, "the machine is for one image: %s, or %s with --disk?",
                         s->image, value);
    s->image = value;
    return set_disk(ctx, value, err);
}

static int set_sandbox(void *ctx, const char *value, struct error *err)
{
    return sandbox_set(&((struct run_settings *)ctx)->sandbox, value, err);
}

static int set_user(void *ctx, const char *value, struct error *err)
{
    return sandbox_set_user(&((struct run_settings *)ctx)->sandbox, value, err);
}

/* The fields of a machine's description, too (cli/description.h). */
static const struct option run_options[] = {
    {"kernel", "FILE", "Linux Image or ELF file to boot", set_kernel, .files = ""},
    {"initrd", "FILE", "initial RAM disk for the kernel", set_initrd, .files = ""},
    {"append", "TEXT", "the kernel's command line", set_append},
    {"firmware", "FILE",
     "M-mode firmware (OpenSBI, U-Boot, a bare program) for the start of memory; without it guise "
     "answers SBI calls itself",
     set_firmware, .files = ""},
    {"image", "FILE[,readonly][,format=raw|qcow2]",
     "the disk with the system that the machine is for, as IMAGE", set_image, .files = "",
     .head = "file"},
    {"uefi", "FILE",
     "boot with the EDK2 that is installed on this host; its variables are kept in FILE, which is "
     "made if it is missing; docs/firmware.md",
     set_uefi, .files = ""},
    {"pflash", "FILE[,readonly][,format=raw|qcow2]",
     "flash of 32 MiB: first the firmware to boot (EDK2's RISCV_VIRT_CODE.fd), given again the one "
     "that keeps its variables",
     set_pflash, .repeats = true, .files = "", .head = "file"},
    {"cpus", "N", "harts, 1 to 64 (default 1, with IMAGE the host's, up to 4)", set_cpus,
     .json = OPTION_NUMBER},
    {"memory", "SIZE", "memory, for example 512M or 2G (default 256M, with IMAGE 1G)", set_memory,
     .json = OPTION_SIZE},
    {"disk", "FILE[,readonly][,format=raw|qcow2]",
     "a disk image as a virtio disk; up to 7 times. Without a format qcow2 is known by its first "
     "bytes, and the guest cannot write them to a raw disk. FILE may be a network block device: "
     "nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, with TLS nbds:// and nbds+unix://",
     set_disk, .repeats = true, .files = "", .head = "file"},
    {"net", "SPEC",
     "network card: user (NAT; hostfwd=tcp:[ADDR:]PORT-[ADDR:]PORT, restrict, host), "
     "tap,ifname=NAME, switch=PATH (with other machines), none; all take mac=, mtu= and pcap=FILE; "
     "may be repeated; docs/networks.md",
     set_net, .repeats = true, .files = "switch=|pcap=", .head = "network"},
    {"share", "DIR[,tag=NAME][,readonly][,owner=UID[:GID]]",
     "a folder of the host, which the guest mounts: mount -t virtiofs NAME /mnt (default name: "
     "share). Its files belong to UID there (default 0) and to you here; may be repeated; "
     "docs/shared-folders.md",
     set_share, .repeats = true, .files = "", .head = "folder"},
    {"vsock", "PATH[,cid=N]",
     "sockets between programs of the host and of the guest, whose address is N (default 3): "
     "connect to PATH, write CONNECT PORT and a newline, read OK and a line; what the guest "
     "connects to at CID 2 comes to PATH_PORT; docs/vsock.md",
     set_vsock, .files = ""},
    {"port", "SPEC,name=NAME",
     "a stream that the guest has as /dev/virtio-ports/NAME: unix:PATH, a socket for one program "
     "of "
     "the host at a time, or file:PATH, which takes what the guest writes; up to 6 times; "
     "docs/devices.md",
     set_port, .repeats = true, .files = "unix:|file:", .head = "to"},
    {"balloon", "on|off|SIZE",
     "a memory balloon, through which free memory of the guest goes back to the host (default: on, "
     "unless deterministic); SIZE: what the guest is asked to do without",
     set_balloon},
    {"bus", "mmio|pci",
     "where the virtio devices are: in the slots of memory (default), or on PCI Express", set_bus},
    {"irqchip", "plic|aia",
     "interrupt controllers: a PLIC (default), or an APLIC and IMSICs, with which devices on PCI "
     "send their interrupts as messages",
     set_irqchip},
    {"console", "SPEC",
     "serial port: stdio (default; Ctrl-A x ends, Ctrl-A h helps), stdout (no input), none, "
     "file:PATH, pty, unix:PATH",
     set_console, .files = "file:|unix:"},
    {"engine", "NAME", "how guest code runs: auto (default), interp, or dbt (x86-64 hosts)",
     set_engine},
    {"code-cache", "SIZE",
     "memory for translated code of each cpu, 1M to 1G (default 128M); when it is full it starts "
     "over",
     set_code_cache, .json = OPTION_SIZE},
    {"no-cache", NULL,
     "neither use nor keep what earlier runs with the first disk translated (docs/translator.md)",
     set_no_cache},
    {"mmu", "MODE", "largest virtual addresses offered: sv39 (default), sv48, sv57", set_mmu},
    {"name", "NAME",
     "what 'guise ps' and 'guise ctl' call the machine (default vm- and the process)", set_name},
    {"control", "PATH|none",
     "where its control socket is (default NAME.sock in $XDG_RUNTIME_DIR/guise, for root without "
     "that variable in /run/guise)",
     set_control},
    {"paused", NULL, "do not start before 'guise ctl NAME resume'", set_paused},
    {"gdb", "PORT|unix:PATH", "wait for a debugger at a local TCP port or socket", set_gdb,
     .files = "unix:"},
    {"deterministic", NULL,
     "guest time counts instructions, entropy and date are fixed: runs repeat exactly",
     set_deterministic},
    {"run-for", "NS", "with --deterministic: stop when guest time has come to so many nanoseconds",
     set_run_for, .json = OPTION_NUMBER},
    {"save", "FILE", "write the machine's state at the end of --run-for", set_save, .files = ""},
    {"load", "FILE", "start from saved state; give the other options as they were then", set_load,
     .files = ""},
    {"lockstep", "ENGINE,ENGINE",
     "run two machines side by side, deterministic and without input, and stop at the first "
     "instruction after which they differ: then the exit code is 3",
     set_lockstep},
    {"sandbox", "on|off",
     "take from the process what the machine does not need (default on): files, networks, "
     "programs, privileges; docs/confinement.md",
     set_sandbox},
    {"user", "NAME|UID[:GID]",
     "who guise becomes for the guest when root starts it (default 65534, nobody)", set_user},
    {"stats", NULL, "print what was done, and a hash of the final state, at the end", set_stats},
    {"dump-code", "FILE",
     "write what the translator compiles, for tools/hot-code; with --engine dbt", set_dump_code,
     .files = ""},
    {"dump-dtb", "FILE", "write the device tree and do not run", set_dump_dtb, .files = ""},
    {"print-config", NULL, "print the options as a description of the machine and do not run",
     set_print_config, .json = OPTION_NONE},
    {NULL, NULL, NULL, NULL},
};

static void run_help(FILE *out)
{
    fputs("\nDESCRIPTION.json is an object that has options as its fields, for example\n"
          "{\"kernel\": \"Image\", \"cpus\": 2, \"disk\": [\"debian.qcow2\"]}; what comes later on "
          "the\ncommand line wins; docs/machine-description.md\n",
          out);
    fputs(
        "\nIMAGE is a disk with a system on it, given as --disk's (docs/images.md). U-Boot of the\n"
        "host's package u-boot-qemu starts it without waiting for a key, and there is a network\n"
        "card behind NAT, unless options say what else.\n"
        "\noptions:\n",
        out);
    options_help(run_options, out);
}

/* ---- a machine made for a disk ---- */

/* Half of the processors' memory at most. */
static uint64_t image_memory(void)
{
    uint64_t half = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
    return half < UINT64_C(1) << 30 ? half & -(UINT64_C(1) << 20) : UINT64_C(1) << 30;
}

static unsigned image_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 4 ? 4 : (unsigned)n;
}

/* EDK2 of this host, and a file of variables, which is made when there is none. */
static int use_uefi(struct run_settings *s, struct error *err)
{
    char code[PATH_MAX];
    if (s->vm.flash_count)
        return error_set(err, EINVAL, "--uefi: takes the place of --pflash");
    int rc = firmware_find(FIRMWARE_EDK2_CODE, code, sizeof code, err);
    if (!rc)
        rc = firmware_make_vars(s->uefi, err);
    if (rc)
        return error_prefix(err, "--uefi");
    s->flash_paths[0] = strdup(code);
    s->flash_paths[1] = strdup(s->uefi);
    if (!s->flash_paths[0] || !s->flash_paths[1])
        return error_set(err, ENOMEM, "out of memory for %s", s->uefi);
    for (unsigned i = 0; i < VM_MAX_FLASH; i++)
        s->vm.flash[i] = (struct vm_disk){s->flash_paths[i], "raw", i == 0};
    s->vm.flash_count = VM_MAX_FLASH;
    return 0;
}

/* What the machine has by what was said, and an image's that was not said. */
static int run_defaults(struct run_settings *s, struct error *err)
{
    struct vm_config *vm = &s->vm;
    if (s->uefi && use_uefi(s, err))
        return -err->code;
    if (!s->image)
        return 0;
    if (!s->cpus_given)
        vm->cpus = image_cpus();
    if (!s->memory_given)
        vm->memory = image_memory();
    if (!vm->net_count && !vm->deterministic)
        vm->nets[vm->net_count++] = "user";
    vm->boot_at_once = true;
    if (vm->kernel || vm->firmware || vm->flash_count)
        return 0;
    vm->kernel = s->u_boot;
    return firmware_find(FIRMWARE_U_BOOT, s->u_boot, sizeof s->u_boot, err)
               ? error_prefix(err, "%s", s->image)
               : 0;
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
            "resident      %llu KiB, %llu KiB of zeros given back, %llu KiB by the guest\n"
            "state hash    %016llx\n",
            (unsigned long long)s.engine.instructions,
            seconds > 0 ? (double)s.engine.instructions / seconds / 1e6 : 0,
            (unsigned long long)s.engine.traps, (unsigned long long)s.engine.tlb_misses,
            (unsigned long long)s.engine.decoded, (unsigned long long)s.engine.code_pages,
            (double)s.guest_ns / 1e9, seconds, (unsigned long long)s.resident_kib,
            (unsigned long long)s.given_back_kib, (unsigned long long)s.ballooned_kib,
            (unsigned long long)vm_hash(vm));
    struct net_stats n;
    for (unsigned i = 0; vm_net_stats(vm, i, &n); i++)
        fprintf(stderr,
                "net%u          in %llu frames, %llu bytes, %llu dropped; out %llu frames, %llu "
                "bytes, %llu dropped\n",
                i, (unsigned long long)n.rx_frames, (unsigned long long)n.rx_bytes,
                (unsigned long long)n.rx_dropped, (unsigned long long)n.tx_frames,
                (unsigned long long)n.tx_bytes, (unsigned long long)n.tx_dropped);
    if (s.engine.regions || s.engine.loaded) {
        engine_stats_print_translator(&s.engine, stderr);
        fprintf(stderr, "loaded        %llu regions of earlier runs or other cpus\n",
                (unsigned long long)s.engine.loaded);
    }
}

/* The code of a guest that failed: its own, but never a success. */
static int guest_code(unsigned code)
{
    return code & 0xff ? (int)(code & 0xff) : 1;
}

/* The control socket. 0 with *ctl NULL: the machine gets none. */
static int open_control(const struct run_settings *s, struct vm *vm, struct ctl **ctl,
                        struct error *err)
{
    char name[CTL_NAME_MAX + 1], path[CTL_PATH_SIZE + 2], dir[CTL_PATH_SIZE];
    const bool asked = s->name || s->control || s->vm.paused;
    *ctl = NULL;
    if (s->control && !strcmp(s->control, "none"))
        return s->vm.paused ? error_set(err, EINVAL,
                                        "--paused needs a control socket, for 'guise ctl NAME "
                                        "resume'")
                            : 0;
    snprintf(name, sizeof name, "vm-%d", (int)getpid());
    const struct ctl_machine m = {vm, s->name ? s->name : name, GUISE_VERSION};
    /* Without a slash it would be a name. */
    if (s->control)
        snprintf(path, sizeof path, "%s%s", strchr(s->control, '/') ? "" : "./", s->control);
    else if (ctl_directory(dir, true, err))
        return asked ? -err->code : 0;
    *ctl = ctl_open(&m, s->control ? path : m.name, err);
    return *ctl || !asked ? 0 : -err->code;
}

static void remove_control(void *ctl)
{
    ctl_remove(ctl);
}

/* Runs it, confined if that is not off. */
static int run_confined(struct run_settings *s, struct vm *vm, struct ctl *ctl,
                        struct vm_result *result, struct error *err)
{
    s->sandbox.how.save = s->save;
    s->sandbox.how.listens = ctl != NULL;
    s->sandbox.how.at_end = remove_control;
    s->sandbox.how.ctx = ctl;
    int rc = sandbox_enter(&s->sandbox, vm, err);
    return rc ? rc : vm_run(vm, result, err);
}

static int run_machine(struct run_settings *s, struct vm *vm, struct error *err)
{
    struct ctl *ctl;
    if (open_control(s, vm, &ctl, err))
        return EXIT_USAGE;
    err->code = 0; /* a socket that nobody has asked for may fail */
    if (vm_console_path(vm) && !strcmp(s->vm.console, "pty"))
        fprintf(stderr, "guise: the console is at %s\n", vm_console_path(vm));
    if (vm_gdb_port(vm))
        fprintf(stderr, "guise: waiting for a debugger at port %u of localhost\n", vm_gdb_port(vm));
    struct vm_result result;
    int rc = run_confined(s, vm, ctl, &result, err);
    if (!s->sandbox.done)
        ctl_remove(ctl);
    ctl_close(ctl);
    if (rc)
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

static int lockstep_readonly(const struct vm_disk *disks, unsigned count, struct error *err)
{
    for (unsigned i = 0; i < count; i++)
        if (!disks[i].readonly)
            return error_set(
                err, EINVAL,
                "--lockstep: two machines cannot both write %s; give it as %s,readonly",
                disks[i].path, disks[i].path);
    return 0;
}

static int lockstep_check(const struct run_settings *s, struct error *err)
{
    const char *comma = strchr(s->lockstep, ',');
    if (!comma || comma - s->lockstep > 16)
        return error_set(err, EINVAL, "--lockstep: '%s' is not two engines, as in interp,dbt",
                         s->lockstep);
    if (s->save || !strcmp(s->vm.console, "pty") || !strncmp(s->vm.console, "unix:", 5))
        return error_set(err, EINVAL,
                         "--lockstep saves no state and takes no input from a pty or a socket");
    if (s->vm.port_count)
        return error_set(err, EINVAL, "--lockstep: two machines cannot both have the port %s",
                         s->vm.ports[0]);
    int rc = lockstep_readonly(s->vm.disks, s->vm.disk_count, err);
    return rc ? rc : lockstep_readonly(s->vm.flash, s->vm.flash_count, err);
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
    if (second && !sandbox_enter(&s->sandbox, first, err) &&
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

/* Those of the disks that a disk is over: they are what their own machines made of them. */
static void open_archives_below(struct archive *a, const struct store *store,
                                const struct vm_disk *disk)
{
    const struct block_options options = {.format = disk->format, .readonly = true};
    struct block *b = block_open(disk->path, &options, NULL);
    for (const struct block *at = b ? block_backing(b) : NULL; at; at = block_backing(at))
        if (!block_is_remote(block_path(at)))
            archive_put_below(a, store, block_path(at));
    block_free(b);
}

/*
 * Where translations of a machine with this disk are kept: it is the first that the guest writes
 * to, so that machines of others, who may have what this one has for reading, have their own.
 */
static struct archive *open_archive(const struct run_settings *s)
{
    struct error err = {0};
    const struct vm_disk *disk = NULL;
    for (unsigned i = 0; i < s->vm.disk_count && !disk; i++)
        if (!s->vm.disks[i].readonly && !block_is_remote(s->vm.disks[i].path))
            disk = &s->vm.disks[i];
    if (!disk || s->no_cache || s->vm.deterministic)
        return NULL;
    struct store *store = cache_open(&err);
    struct archive *archive = store ? store_archive(store, disk->path, &err) : NULL;
    if (archive)
        open_archives_below(archive, store, disk);
    store_free(store);
    if (!archive && s->stats)
        fprintf(stderr, "guise: %s\n", err.msg);
    return archive;
}

static int run_settings(struct run_settings *s, struct error *err)
{
    if (s->print_config)
        return description_print(run_options, &s->given, stdout, err) ? EXIT_USAGE : 0;
    if (s->lockstep)
        return run_lockstep(s, err);
    if (s->save && !s->vm.run_for) {
        error_set(err, EINVAL, "--save needs --run-for, which says when");
        return EXIT_USAGE;
    }
    if (s->dump_dtb)
        s->vm.console = "none";
    else
        s->vm.archive = open_archive(s);
    struct vm *vm = vm_new(&s->vm, err);
    int code = EXIT_USAGE;
    if (vm && s->dump_dtb)
        code = dump_dtb(vm, s->dump_dtb, err) ? EXIT_USAGE : 0;
    else if (vm)
        code = run_machine(s, vm, err);
    vm_free(vm);
    archive_free(s->vm.archive);
    return code;
}

static int take_argument(void *ctx, const char *value, struct error *err)
{
    struct run_settings *s = ctx;
    size_t len = strlen(value);
    if (len > 5 && !strcmp(value + len - 5, ".json"))
        return description_read(value, run_options, s, &s->given, err);
    const struct option *o = run_options;
    while (strcmp(o->name, "image"))
        o++;
    return option_apply(o, value, ctx, &s->given, err);
}

static int run_run(int argc, char **argv)
{
    struct run_settings s = {0};
    struct error err = {0};
    vm_config_init(&s.vm);
    sandbox_init(&s.sandbox);
    terminal_catch_signals();
    int code = EXIT_USAGE;
    if (!options_parse_logged(run_options, argc, argv, &s, take_argument, &s.given, &err) &&
        (s.print_config || !run_defaults(&s, &err)))
        code = run_settings(&s, &err);
    for (unsigned i = 0; i < VM_MAX_DISKS; i++)
        free(s.disk_paths[i]);
    option_log_fini(&s.given);
    for (unsigned i = 0; i < VM_MAX_FLASH; i++)
        free(s.flash_paths[i]);
    return err.code ? fail_usage(err.msg) : code;
}

const struct verb verb_run = {
    .name = "run",
    .usage = "run [OPTION]... IMAGE | DESCRIPTION.json | --kernel FILE",
    .summary = "run a virtual machine",
    .run = run_run,
    .help = run_help,
};
