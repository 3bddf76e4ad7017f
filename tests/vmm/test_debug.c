/*
 * gdb-multiarch at the door of a real machine: a program without an operating system, two harts.
 * The argument is the engine.
 */
#include "vmm/vm.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const uint32_t program[] = {
    0x00000417, /* 80000000 auipc s0, 0       */
    0x40040413, /* 80000004 addi  s0, s0, 1024 */
    0x008000ef, /* 80000008 jal   0x80000010  */
    0xffdff06f, /* 8000000c j     0x80000008  */
    0x00150513, /* 80000010 addi  a0, a0, 1   */
    0x00a43023, /* 80000014 sd    a0, 0(s0)   */
    0x00008067, /* 80000018 ret               */
};

static char dir[] = "/tmp/guise-debug-XXXXXX", image[64], where[64], script[64], log_path[64];
static const char *engine = "auto";

static void write_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
}

/* Starts gdb with commands behind "target remote", to end by itself. */
static pid_t gdb_start(const char *commands)
{
    char text[4096];
    int n = snprintf(text, sizeof text,
                     "set confirm off\nset pagination off\nset architecture riscv:rv64\n"
                     "target remote %s\n%s",
                     where + 5, commands);
    write_file(script, text, (size_t)n);
    pid_t pid = fork();
    if (!pid) {
        int fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        alarm(60);
        execlp("gdb-multiarch", "gdb-multiarch", "-nx", "-batch", "-x", script, NULL);
        _exit(127);
    }
    return pid;
}

struct watchdog {
    struct vm *vm;
    pid_t pid;
};

/* Ends the machine some time after gdb, should gdb not have done so. */
static void *watchdog_run(void *ctx)
{
    struct watchdog *w = ctx;
    int status;
    waitpid(w->pid, &status, 0);
    usleep(300000);
    vm_quit(w->vm);
    return NULL;
}

static void debug(bool deterministic, enum vm_end end, const char *commands,
                  const char *const *expected)
{
    struct vm_config config;
    struct error err = {0};
    vm_config_init(&config);
    config.firmware = image;
    config.cpus = 2;
    config.memory = 16 << 20;
    config.console = "none";
    config.gdb = where;
    config.engine = engine;
    config.deterministic = deterministic;
    struct vm *vm = vm_new(&config, &err);
    if (!vm)
        fail_msg("%s", err.msg);
    struct watchdog w = {.vm = vm, .pid = gdb_start(commands)};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, watchdog_run, &w), 0);
    struct vm_result result;
    assert_int_equal(vm_run(vm, &result, &err), 0);
    assert_int_equal(result.end, end);
    pthread_join(t, NULL);
    vm_free(vm);
    assert_int_equal(access(where + 5, F_OK), -1);

    char text[65536];
    FILE *f = fopen(log_path, "r");
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    for (size_t i = 0; expected[i]; i++)
        if (!strstr(text, expected[i])) {
            fputs(text, stderr);
            fail_msg("gdb does not say '%s'", expected[i]);
        }
}

static const char session[] = "info threads\n"
                              "printf \"start=%lx priv=%d\\n\", $pc, $priv\n"
                              "break *0x80000010\n"
                              "continue\n"
                              "printf \"break pc=%lx ra=%lx\\n\", $pc, $ra\n"
                              "set $a0 = 1000\n"
                              "set scheduler-locking on\n"
                              "stepi\n"
                              "printf \"step a0=%d pc=%lx\\n\", $a0, $pc\n"
                              "delete\n"
                              "watch *(long *)0x80000400\n"
                              "continue\n"
                              "printf \"watch=%ld pc=%lx\\n\", *(long *)0x80000400, $pc\n"
                              "delete\n"
                              "rwatch *(long *)0x80000800\n"
                              "set $s0 = 0x80000900\n"
                              "set var *(int *)0x80000014 = 0x80040513\n" /* addi a0,s0,-2048 */
                              "hbreak *0x80000018\n"
                              "set $pc = 0x80000010\n"
                              "continue\n"
                              "printf \"patched a0=%lx pc=%lx\\n\", $a0, $pc\n"
                              "delete\n"
                              "printf \"csr %lx %lx\\n\", $misa & 1, $mscratch\n"
                              "set $mscratch = 0x1234\n"
                              "printf \"mscratch=%lx\\n\", $mscratch\n"
                              "set scheduler-locking off\n"
                              "thread 2\n"
                              "stepi\n"
                              "printf \"hart %d\\n\", $mhartid\n";

static const char *const said[] = {
    "(Hart 0, M-mode)",
    "(Hart 1, M-mode)",
    "start=1000 priv=",
    "break pc=80000010 ra=8000000c\n",
    "step a0=1001 pc=80000014\n",
    "watch=1001 pc=8000000c\n", /* gdb itself steps once behind the access: see gdbstub.h */
    "patched a0=80000100 pc=80000018\n",
    "csr 1 ",
    "mscratch=1234\n",
    "hart 1\n",
    NULL,
};

static void gdb_debugs_a_machine(void **state)
{
    (void)state;
    char commands[4096];
    snprintf(commands, sizeof commands, "%skill\n", session);
    debug(false, VM_END_QUIT, commands, said);
}

static void gdb_debugs_a_deterministic_machine(void **state)
{
    (void)state;
    char commands[4096];
    snprintf(commands, sizeof commands, "%sdetach\n", session); /* gdb ends, the machine goes on */
    debug(true, VM_END_QUIT, commands, said);
}

static void gdb_sees_the_machine_end(void **state)
{
    (void)state;
    static const char *const ended[] = {"at 80000008\n", "stop 80000010\n", "[Inferior 1 ",
                                        "exited with code 05]", NULL};
    /* sw of 0x00053333 to 0x100000, the test device: fails with code 5. */
    debug(false, VM_END_FAILURE,
          "hbreak *0x80000008\ncontinue\nprintf \"at %lx\\n\", $pc\ndelete\n"
          "hbreak *0x80000010\ncontinue\nprintf \"stop %lx\\n\", $pc\ndelete\n"
          "set var *(int *)0x80000014 = 0x00a42023\n"
          "set $a0 = 0x53332\nset $s0 = 0x100000\ncontinue\n",
          ended);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(image, sizeof image, "%s/program", dir);
    snprintf(script, sizeof script, "%s/script", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(where, sizeof where, "unix:%s/gdb", dir);
    write_file(image, program, sizeof program);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(image);
    unlink(script);
    unlink(log_path);
    return rmdir(dir);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        engine = argv[1];
    if (system("gdb-multiarch --version > /dev/null 2>&1")) {
        puts("gdb-multiarch is missing");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gdb_debugs_a_machine),
        cmocka_unit_test(gdb_debugs_a_deterministic_machine),
        cmocka_unit_test(gdb_sees_the_machine_end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
