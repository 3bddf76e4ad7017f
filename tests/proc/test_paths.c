/* Paths: what is found below the sysroot, and the files of /proc that are made. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "proc/guest_abi.h"
#include "proc/path.h"
#include "rig.h"

/* ---- names in /proc ---- */

static void test_proc_names(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum proc_file file;
    } cases[] = {
        {"/proc/self/exe", PROC_FILE_EXE},
        {"/proc/self/maps", PROC_FILE_MAPS},
        {"//proc//self//auxv", PROC_FILE_AUXV},
        {"/proc/thread-self/cmdline", PROC_FILE_CMDLINE},
        {"/proc/123/stat", PROC_FILE_STAT},
        {"/proc/self/task/125/stat", PROC_FILE_STAT},
        {"/proc/123/task/123/maps", PROC_FILE_MAPS},
        {"/proc/cpuinfo", PROC_FILE_CPUINFO},
        {"/proc/124/stat", PROC_FILE_NONE},
        {"/proc/1234/stat", PROC_FILE_NONE},
        {"/proc/stat", PROC_FILE_NONE},
        {"/proc/self/status", PROC_FILE_STATUS},
        {"/proc/self/task/stat", PROC_FILE_NONE},
        {"/proc/self/task/1x/stat", PROC_FILE_NONE},
        {"/proc/self/maps/", PROC_FILE_NONE},
        {"proc/self/maps", PROC_FILE_NONE},
        {"/proc", PROC_FILE_NONE},
        {"/process/self/maps", PROC_FILE_NONE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        if (proc_file_find(cases[i].path, 123) != cases[i].file)
            fail_msg("%s", cases[i].path);
}

/* ---- the sysroot ---- */

static char root[] = "/tmp/guise-sysroot-XXXXXX";

static void in_root(char out[PATH_MAX], const char *name)
{
    snprintf(out, PATH_MAX, "%s%s", root, name);
}

static void make_dir(const char *name)
{
    char path[PATH_MAX];
    in_root(path, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *to, const char *name)
{
    char path[PATH_MAX];
    in_root(path, name);
    assert_int_equal(symlink(to, path), 0);
}

static void make_file(const char *name, const char *text)
{
    char path[PATH_MAX];
    in_root(path, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    make_dir("/lib");
    make_dir("/proc");
    make_dir("/guise-dir");
    make_file("/lib/libguise.so", "below");
    make_link("libguise.so", "/lib/relative");
    make_link("/lib/libguise.so", "/lib/absolute");
    make_link("/lib", "/guise-lib");
    make_link("/nowhere", "/lib/broken");
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void test_sysroot(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool follow;
        const char *found; /* NULL: nothing there */
    } cases[] = {
        {"/lib/libguise.so", true, "/lib/libguise.so"},
        {"/lib/relative", true, "/lib/libguise.so"},
        {"/lib/absolute", true, "/lib/libguise.so"},
        {"/lib/absolute", false, "/lib/absolute"},
        {"/guise-lib/libguise.so", true, "/lib/libguise.so"},
        {"/guise-lib/absolute", true, "/lib/libguise.so"},
        {"/guise-dir/../../../lib/libguise.so", true, "/lib/libguise.so"},
        {"/lib/broken", true, NULL},
        {"/lib/broken", false, "/lib/broken"},
        {"/lib/missing", true, NULL},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[PATH_MAX], expected[PATH_MAX];
        bool found = path_in_sysroot(root, cases[i].path, cases[i].follow, out);
        if (found != !!cases[i].found)
            fail_msg("%s", cases[i].path);
        if (found) {
            in_root(expected, cases[i].found);
            assert_string_equal(out, expected);
        }
    }
}

static void test_calls_in_sysroot(void **state)
{
    (void)state;
    struct rig r;
    char text[16] = "";
    struct guest_stat s;
    rig_init(&r);
    r.config.sysroot = root;
    int64_t fd = rig_call(&r, GUEST_openat, (uint64_t)AT_FDCWD, P("/lib/absolute"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(rig_call(&r, GUEST_read, (uint64_t)fd, P(text), sizeof text), 5);
    assert_string_equal(text, "below");
    assert_int_equal(rig_call(&r, GUEST_close, (uint64_t)fd), 0);
    assert_int_equal(
        rig_call(&r, GUEST_newfstatat, (uint64_t)AT_FDCWD, P("/lib/libguise.so"), P(&s), 0), 0);
    assert_int_equal(s.size, 5);
    assert_int_equal(rig_call(&r, GUEST_newfstatat, (uint64_t)AT_FDCWD, P("/lib/absolute"), P(&s),
                              AT_SYMLINK_NOFOLLOW),
                     0);
    assert_true(S_ISLNK(s.mode));
    assert_int_equal(rig_call(&r, GUEST_faccessat, (uint64_t)AT_FDCWD, P("/guise-dir"), R_OK), 0);
    assert_int_equal(rig_call(&r, GUEST_readlinkat, (uint64_t)AT_FDCWD, P("/lib/relative"), P(text),
                              sizeof text),
                     11);
    assert_memory_equal(text, "libguise.so", 11);
    /* What is made is made outside; /proc is never below. */
    assert_int_equal(rig_call(&r, GUEST_mkdirat, (uint64_t)AT_FDCWD, P("/guise-lib/x"), 0755),
                     -ENOENT);
    assert_int_equal(rig_call(&r, GUEST_faccessat, (uint64_t)AT_FDCWD, P("/proc/self"), R_OK), 0);
    /* The others are the host's. */
    assert_int_equal(rig_call(&r, GUEST_faccessat, (uint64_t)AT_FDCWD, P("/tmp"), R_OK), 0);
    assert_int_equal(rig_call(&r, GUEST_faccessat, (uint64_t)AT_FDCWD, 16, R_OK), -EFAULT);
    rig_fini(&r);
}

/* ---- made files ---- */

static size_t slurp(struct rig *r, const char *path, char *out, size_t size)
{
    int64_t fd = rig_call(r, GUEST_openat, (uint64_t)AT_FDCWD, P(path), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl((int)fd, F_GETFD), FD_CLOEXEC);
    ssize_t n = read((int)fd, out, size - 1);
    assert_true(n >= 0);
    out[n] = 0;
    close((int)fd);
    return (size_t)n;
}

static void test_made_files(void **state)
{
    (void)state;
    struct rig r;
    static char text[1 << 16];
    const uint64_t auxv[] = {AT_PAGESZ, 4096, AT_NULL, 0};
    rig_init(&r);
    r.process.auxv = P(auxv);
    r.process.auxv_size = sizeof auxv;
    r.process.mm.brk_start = 0x1234000;

    assert_int_equal(slurp(&r, "/proc/self/cmdline", text, sizeof text), 17);
    assert_memory_equal(text, "program\0argument", 17);
    assert_int_equal(slurp(&r, "/proc/self/auxv", text, sizeof text), sizeof auxv);
    assert_memory_equal(text, auxv, sizeof auxv);
    slurp(&r, "/proc/self/maps", text, sizeof text);
    assert_non_null(strstr(text, "/program"));
    slurp(&r, "/proc/cpuinfo", text, sizeof text);
    assert_non_null(strstr(text, "processor\t: 0\n"));
    assert_non_null(strstr(text, "isa\t\t: rv64imafdc_zic"));

    char expected[32];
    slurp(&r, "/proc/self/stat", text, sizeof text);
    assert_int_equal(strtol(text, NULL, 10), getpid());
    snprintf(expected, sizeof expected, " %d ", 0x1234000);
    assert_non_null(strstr(text, expected));
    snprintf(expected, sizeof expected, " %llu ", (unsigned long long)r.process.auxv);
    assert_non_null(strstr(text, expected));
    rig_fini(&r);
}

static void test_made_files_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    assert_int_equal(rig_call(&r, GUEST_openat, (uint64_t)AT_FDCWD, P("/proc/self/maps"), O_RDWR),
                     -EACCES);
    assert_int_equal(
        rig_call(&r, GUEST_openat, (uint64_t)AT_FDCWD, P("/proc/self/maps"), O_DIRECTORY),
        -ENOTDIR);
    rig_fini(&r);
}

static void test_exe(void **state)
{
    (void)state;
    struct rig r;
    char text[64] = "";
    struct guest_stat s;
    struct stat own;
    rig_init(&r);
    const uint64_t at = (uint64_t)AT_FDCWD;
    assert_int_equal(rig_call(&r, GUEST_readlinkat, at, P("/proc/self/exe"), P(text), 64), 7);
    assert_string_equal(text, "/bin/sh");
    assert_int_equal(rig_call(&r, GUEST_readlinkat, at, P("/proc/self/exe"), P(text), 3), 3);
    assert_int_equal(rig_call(&r, GUEST_readlinkat, at, P("/proc/self/exe"), P(text), 0), -EINVAL);
    assert_int_equal(rig_call(&r, GUEST_newfstatat, at, P("/proc/self/exe"), P(&s), 0), 0);
    assert_int_equal(stat("/bin/sh", &own), 0);
    assert_int_equal(s.ino, own.st_ino);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proc_names),         cmocka_unit_test(test_sysroot),
        cmocka_unit_test(test_calls_in_sysroot),   cmocka_unit_test(test_made_files),
        cmocka_unit_test(test_made_files_refused), cmocka_unit_test(test_exe),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
