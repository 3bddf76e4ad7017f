/*
 * Machine images made from a distribution's packages. The work is done by a shell script that is
 * part of this program (image_debian.sh) and calls well-kept tools; this file gives it what it
 * needs: options that are checked, the tools, and root's rights over nothing but its own
 * namespaces.
 */
#include "cli/options.h"
#include "cli/userns.h"
#include "cli/verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIN_SIZE (UINT64_C(1) << 30)
#define MAX_SIZE (UINT64_C(16) << 40) /* what ext4 has with blocks of 4 KiB */

/* image_debian.sh, put here by the build. */
extern const char image_debian_sh[];

struct image_settings {
    const char *words[2]; /* build debian */
    unsigned word_count;
    const char *suite, *include, *mirror, *hostname, *password, *key, *output;
    uint64_t size;
};

/* ---- options ---- */

#define SET_STRING(member)                                                   \
    static int set_##member(void *ctx, const char *value, struct error *err) \
    {                                                                        \
        (void)err;                                                           \
        ((struct image_settings *)ctx)->member = value;                      \
        return 0;                                                            \
    }

SET_STRING(mirror)
SET_STRING(password)
SET_STRING(output)

/* These become part of file names, lines and arguments of the tools. */
static int set_word(const char **member, const char *option, const char *more, const char *value,
                    struct error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    char allowed[80];
    snprintf(allowed, sizeof allowed, "%s%s", plain, more);
    *member = value;
    if (!*value || *value == '-' || value[strspn(value, allowed)])
        return error_set(err, EINVAL, "%s: '%s' is none", option, value);
    return 0;
}

static int set_suite(void *ctx, const char *value, struct error *err)
{
    return set_word(&((struct image_settings *)ctx)->suite, "--suite", "", value, err);
}

static int set_hostname(void *ctx, const char *value, struct error *err)
{
    return set_word(&((struct image_settings *)ctx)->hostname, "--hostname", "", value, err);
}

static int set_include(void *ctx, const char *value, struct error *err)
{
    return set_word(&((struct image_settings *)ctx)->include, "--include", "+:,", value, err);
}

static int set_size(void *ctx, const char *value, struct error *err)
{
    struct image_settings *s = ctx;
    int rc = parse_size(value, &s->size, err);
    if (!rc && (s->size < MIN_SIZE || s->size > MAX_SIZE))
        rc = error_set(err, ERANGE, "'%s' is not between 1G and 16T", value);
    return rc ? error_prefix(err, "--size") : 0;
}

static int set_key(void *ctx, const char *value, struct error *err)
{
    struct image_settings *s = ctx;
    s->key = value;
    return access(value, R_OK) ? error_set(err, errno, "--ssh-key %s: %s", value, strerror(errno))
                               : 0;
}

static const struct option image_options[] = {
    {"o", "FILE", "the disk to write: qcow2 if its name ends with that, raw otherwise", set_output},
    {"suite", "NAME", "Debian's release: trixie (default) or a later one", set_suite},
    {"include", "PKG,PKG", "packages besides those of a small server", set_include},
    {"size", "SIZE", "of the disk (default 4G); what is not used takes no room", set_size},
    {"hostname", "NAME", "what the machine calls itself (default debian)", set_hostname},
    {"root-password", "TEXT",
     "root's; without it root logs in at the console without one, and by ssh with a key only",
     set_password},
    {"ssh-key", "FILE", "public keys that may log in as root by ssh", set_key},
    {"mirror", "URL",
     "where packages come from, and only from there; otherwise the mirrors that this machine's apt "
     "has for Debian, or mmdebstrap's",
     set_mirror},
    {NULL, NULL, NULL, NULL},
};

static int image_argument(void *ctx, const char *value, struct error *err)
{
    struct image_settings *s = ctx;
    if (s->word_count == 2)
        return error_set(err, EINVAL, "unexpected argument '%s'", value);
    s->words[s->word_count++] = value;
    return 0;
}

/* ---- what it needs ---- */

static const struct {
    const char *program, *package;
} image_tools[] = {
    {"mmdebstrap", "mmdebstrap"}, {"arch-test", "arch-test"}, {"mke2fs", "e2fsprogs"},
    {"sfdisk", "fdisk"},          {"mformat", "mtools"},      {"newuidmap", "uidmap"},
};

/* The script looks there too; the PATH of users lacks the last ones. */
static bool in_path(const char *program)
{
    char dirs[4096];
    const char *path = getenv("PATH");
    snprintf(dirs, sizeof dirs, "%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
    char *rest = dirs;
    for (char *dir; (dir = strsep(&rest, ":"));) {
        char file[PATH_MAX];
        snprintf(file, sizeof file, "%s/%s", dir, program);
        if (!access(file, X_OK))
            return true;
    }
    return false;
}

static int check_tools(struct error *err)
{
    char missing[200] = "";
    for (size_t i = 0; i < sizeof image_tools / sizeof image_tools[0]; i++) {
        bool needed = geteuid() || strcmp(image_tools[i].package, "uidmap"); /* userns.h */
        if (!needed || in_path(image_tools[i].program))
            continue;
        strcat(missing, " "); /* all names together fit */
        strcat(missing, image_tools[i].package);
    }
    return *missing ? error_set(err, ENOENT,
                                "images are made with tools that are not here; as root: apt-get "
                                "install%s",
                                missing)
                    : 0;
}

/* ---- build ---- */

/* For the script, which removes what it puts there. */
static int work_make(char dir[PATH_MAX], struct error *err)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, PATH_MAX, "%s/guise-image.XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
    /* Users of the system inside have to get through. */
    return mkdtemp(dir) && !chmod(dir, 0755)
               ? 0
               : error_set(err, errno, "%s: cannot be made: %s", dir, strerror(errno));
}

static int set_environment(const struct image_settings *s, const char *dir)
{
    char size[24], self[PATH_MAX];
    snprintf(size, sizeof size, "%llu", (unsigned long long)s->size);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n < 0 ? 0 : n] = 0;
    const struct {
        const char *name, *value;
    } rows[] = {
        {"GUISE", self},       {"OUTPUT", s->output},     {"WORK", dir},
        {"SIZE", size},        {"SUITE", s->suite},       {"INCLUDE", s->include},
        {"MIRROR", s->mirror}, {"HOSTNAME", s->hostname}, {"PASSWORD", s->password},
        {"KEY", s->key},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        rc |= setenv(rows[i].name, rows[i].value ? rows[i].value : "", 1);
    return rc;
}

static int image_build(const struct image_settings *s, struct error *err)
{
    const char *argv[] = {"/bin/sh", "-c", image_debian_sh, "guise-image", NULL};
    char dir[PATH_MAX];
    int rc = check_tools(err);
    rc = rc ? rc : work_make(dir, err);
    if (rc)
        return rc;
    rc = set_environment(s, dir) ? error_set(err, ENOMEM, "out of memory for the environment")
                                 : userns_run(argv, err);
    rmdir(dir);
    if (rc > 0)
        return error_set(err, EIO, "%s was not made, for the reason above", s->output);
    if (!rc)
        fprintf(stderr, "guise: %s is ready: guise run %s\n", s->output, s->output);
    return rc;
}

/* ---- the verb ---- */

static int run_image(int argc, char **argv)
{
    struct image_settings s = {.suite = "trixie", .hostname = "debian", .size = UINT64_C(4) << 30};
    struct error err = {0};
    int rc = options_parse(image_options, argc, argv, &s, image_argument, &err);
    if (!rc && (s.word_count != 2 || strcmp(s.words[0], "build") || strcmp(s.words[1], "debian")))
        rc = error_set(&err, EINVAL,
                       "image needs to be told what: guise image build debian -o FILE");
    if (!rc && !s.output)
        rc = error_set(&err, EINVAL, "image build needs a file to write: -o FILE");
    if (!rc)
        rc = image_build(&s, &err);
    return rc ? fail_usage(err.msg) : 0;
}

static void image_help(FILE *out)
{
    fputs("\nThe disk has an EFI system partition with GRUB and a root file system (ext4) with a\n"
          "small Debian for riscv64: kernel, systemd, DHCP, sshd. 'guise run FILE' starts it. No\n"
          "rights are needed but for packages that may be missing, which are named.\n"
          "\noptions:\n",
          out);
    options_help(image_options, out);
    fputs("\nSee docs/images.md.\n", out);
}

const struct verb verb_image = {
    .name = "image",
    .usage = "image build debian [OPTION]... -o FILE",
    .summary = "make a disk with a system on it",
    .run = run_image,
    .help = image_help,
};
