/*
 * What a program can do that guise-fs would be made to run by a guest: nothing outside its folder,
 * with namespaces for users and, as in many containers, without.
 */
#include "../dev/test.h"

#include "fsd/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[200];

static int setup(void **state)
{
    char name[250];
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(top, sizeof top, "%.150s/guise-jail-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(top))
        return -1;
    snprintf(name, sizeof name, "%s/folder", top);
    mkdir(name, 0755);
    snprintf(name, sizeof name, "%s/folder/inside", top);
    close(open(name, O_CREAT | O_WRONLY, 0644));
    snprintf(name, sizeof name, "%s/outside", top);
    return close(open(name, O_CREAT | O_WRONLY, 0644));
}

static int teardown(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", top);
    return system(command);
}

/* unshare() fails as where it is forbidden. */
static void forbid_namespaces(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = 4, .filter = code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(100);
}

#define MUST(what)                                     \
    do {                                               \
        if (!(what)) {                                 \
            fprintf(stderr, "%s: is not so\n", #what); \
            _exit(1);                                  \
        }                                              \
    } while (0)

/* A file outside, by its own path and from the folder upwards. */
static void try_files(int root, bool readonly)
{
    char outside[250];
    snprintf(outside, sizeof outside, "%s/outside", top);
    MUST(open(outside, O_RDONLY) < 0);
    MUST(open("/etc/passwd", O_RDONLY) < 0);
    MUST(openat(root, "../outside", O_RDONLY) < 0);
    MUST(openat(root, "../outside", O_WRONLY) < 0);
    MUST(unlinkat(root, "../outside", 0) < 0);
    /* Above the folder there is nothing, or the folder itself; run() looks. */
    (void)!openat(root, "../made1", O_WRONLY | O_CREAT, 0644);
    (void)!linkat(root, "inside", root, "../made2", 0);
    MUST(openat(root, "inside", O_RDONLY) >= 0);
    MUST((openat(root, "inside", O_WRONLY) < 0) == readonly);
    MUST((openat(root, "made", O_WRONLY | O_CREAT, 0644) < 0) == readonly);
}

static void try_calls(void)
{
    char *const argv[] = {(char *)(uintptr_t) "/bin/true", NULL};
    errno = 0;
    MUST(execve(argv[0], argv, NULL) && errno == EPERM);
    MUST(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
    MUST(syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0) < 0 && errno == EPERM);
    MUST(kill(getppid(), 0) < 0 && errno == EPERM);
    MUST(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL) < 0 && errno == EPERM);
    MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 && errno == EPERM);
    MUST(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) < 0 && errno == EPERM);
}

static void run(bool readonly, bool namespaces)
{
    char folder[250];
    struct error err = {0};
    int status, root;
    snprintf(folder, sizeof folder, "%s/folder", top);
    pid_t pid = fork();
    if (!pid) {
        if (!namespaces)
            forbid_namespaces();
        int rc = jail_files(folder, readonly, &root, &err);
        if (rc == -EPERM)
            _exit(77); /* neither landlock nor namespaces: it says so */
        MUST(!rc);
        try_files(root, readonly);
        MUST(!jail_calls(&err));
        try_calls();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    snprintf(folder, sizeof folder, "%s/made1", top);
    assert_int_equal(access(folder, F_OK), -1);
    snprintf(folder, sizeof folder, "%s/made2", top);
    assert_int_equal(access(folder, F_OK), -1);
}

static void test_writable(void **state)
{
    (void)state;
    run(false, true);
}

static void test_readonly(void **state)
{
    (void)state;
    run(true, true);
}

static void test_no_namespaces(void **state)
{
    (void)state;
    run(true, false);
    run(false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_namespaces, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
