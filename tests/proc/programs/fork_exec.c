/*
 * exec: what is executed and how it fails, what the new program gets; vfork and posix_spawn. The
 * program executes itself: with arguments it tells what it was given.
 */
#include "sig.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char self[PATH_MAX];

/* What the executed program prints, and its end; errors as the number. */
static void shows(const char *path, char *const argv[], char *const envp[])
{
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        execve(path, argv, envp);
        printf("errno %d\n", errno);
        fflush(stdout);
        _exit(9);
    }
    printf("ended with %d\n", sig_wait(child));
}

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})
#define NO_ENV ((char *[]){NULL})

static void tells(int argc, char **argv, char **envp)
{
    for (int i = 0; i < argc; i++)
        printf("argument %d: %s\n", i, strstr(argv[i], "fork_exec") ? "self" : argv[i]);
    for (int i = 0; envp[i]; i++)
        printf("environment: %s\n", envp[i]);
    for (int fd = 3; fd < 20; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("open: %d\n", fd);
    for (int sig = 1; sig < 32; sig++) {
        struct sigaction a;
        if (!sigaction(sig, NULL, &a) && a.sa_handler != SIG_DFL)
            printf("signal %d: %s\n", sig, a.sa_handler == SIG_IGN ? "ignored" : "handled");
        if (sig_blocked(sig) == 1)
            printf("signal %d: blocked\n", sig);
    }
    sigset_t pending;
    sigpending(&pending);
    for (int sig = 1; sig < 32; sig++)
        if (sigismember(&pending, sig))
            printf("signal %d: pending\n", sig);
    fflush(stdout);
}

static void write_file(const char *name, const char *text, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    CHECK(fd >= 0);
    CHECK_IS(write(fd, text, strlen(text)), (long)strlen(text));
    close(fd);
    CHECK_IS(chmod(name, (mode_t)mode), 0);
}

static void files(void)
{
    char line[PATH_MAX + 100];
    shows(self, ARGV("zero", "one", "", "two words"), ARGV("A=1", "B="));
    shows("/bin/echo", ARGV("echo", "of the host"), NO_ENV);
    shows("missing", ARGV("missing"), NO_ENV);
    shows("./missing/file", ARGV("x"), NO_ENV);
    shows("/", ARGV("/"), NO_ENV);
    shows("/dev/null", ARGV("x"), NO_ENV);
    shows("/etc/passwd/x", ARGV("x"), NO_ENV);
    write_file("not", "#!/bin/echo\n", 0600);
    if (getuid())
        shows("./not", ARGV("x"), NO_ENV);
    write_file("text", "just text\n", 0700);
    shows("./text", ARGV("x"), NO_ENV);
    write_file("empty", "", 0700);
    shows("./empty", ARGV("x"), NO_ENV);
    snprintf(line, sizeof line, "#!%s  given by the line \nrest\n", self);
    write_file("script", line, 0700);
    shows("./script", ARGV("lost", "kept"), ARGV("C=3"));
    write_file("shell", "#!/bin/sh\necho $# $1 $0; exit 3\n", 0700);
    shows("./shell", ARGV("x", "first"), NO_ENV);
    write_file("nested", "#!./script\n", 0700);
    shows("./nested", ARGV("x", "y"), NO_ENV);
    write_file("circle", "#!./circle\n", 0700);
    shows("./circle", ARGV("x"), NO_ENV);
    write_file("nowhere", "#!/no/such/interpreter\n", 0700);
    shows("./nowhere", ARGV("x"), NO_ENV);
    CHECK_IS(symlink("script", "link"), 0);
    shows("./link", ARGV("x"), NO_ENV);
    CHECK_IS(symlink("loop", "loop"), 0);
    shows("./loop", ARGV("x"), NO_ENV);
    DONE("files");
}

static void arguments(void)
{
    char *far = malloc(5 << 20);
    memset(far, 'x', (5 << 20) - 1);
    far[(5 << 20) - 1] = 0;
    CHECK_ERROR(execve(self, ARGV("x", far), NO_ENV), E2BIG);
    CHECK_ERROR(execve(self, ARGV("x"), ARGV(far)), E2BIG);
    CHECK_ERROR(execve(far, ARGV("x"), NO_ENV), ENAMETOOLONG);
    CHECK_ERROR(execve((char *)8, ARGV("x"), NO_ENV), EFAULT);
    CHECK_ERROR(execve(self, (char **)8, NO_ENV), EFAULT);
    CHECK_ERROR(execve(self, ARGV("x", (char *)8), NO_ENV), EFAULT);
    CHECK_ERROR(execve(self, ARGV("x"), (char **)8), EFAULT);
    CHECK_ERROR(execve("", ARGV("x"), NO_ENV), ENOENT);
    CHECK_ERROR(syscall(SYS_execveat, AT_FDCWD, self, NULL, NULL, 0x4000), EINVAL);
    CHECK_ERROR(syscall(SYS_execveat, 99, "x", NULL, NULL, 0), EBADF);
    CHECK_ERROR(syscall(SYS_execveat, AT_FDCWD, "link", NULL, NULL, AT_SYMLINK_NOFOLLOW), ELOOP);
    free(far);
    DONE("arguments");
}

static void descriptors(void)
{
    int fd = open(self, O_RDONLY | O_CLOEXEC), dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int kept = fcntl(1, F_DUPFD, 10), closed = fcntl(1, F_DUPFD_CLOEXEC, 11);
    CHECK(fd >= 0 && dir >= 0 && kept == 10 && closed == 11);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        fexecve(fd, ARGV("by descriptor"), ARGV("D=4"));
        _exit(9);
    }
    printf("ended with %d\n", sig_wait(child));
    fflush(stdout);
    child = fork();
    if (!child) {
        syscall(SYS_execveat, dir, "script", ARGV("in a directory"), NO_ENV, 0);
        printf("errno %d\n", errno);
        fflush(stdout);
        _exit(9);
    }
    printf("ended with %d\n", sig_wait(child));
    CHECK_IS(fcntl(dir, F_SETFD, 0), 0);
    fflush(stdout);
    child = fork();
    if (!child) {
        CHECK_IS(dup2(dir, 15), 15);
        syscall(SYS_execveat, 15, "script", ARGV("in a directory"), NO_ENV, 0);
        _exit(9);
    }
    printf("ended with %d\n", sig_wait(child));
    close(fd);
    close(dir);
    close(kept);
    close(closed);
    DONE("descriptors");
}

static void handles(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
}

static void signals(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        signal(SIGPIPE, SIG_IGN);
        signal(SIGSEGV, SIG_IGN);
        signal(SIGBUS, SIG_IGN);
        sig_set(SIGUSR1, handles, 0);
        sig_block(SIG_BLOCK, SIGUSR2, SIGSEGV);
        raise(SIGUSR2);
        execve(self, ARGV("signals"), NO_ENV);
        _exit(9);
    }
    printf("ended with %d\n", sig_wait(child));
    DONE("signals");
}

/* A signal is not lost between the caller and what it executes: the child handles it or dies. */
static void exits(int sig)
{
    (void)sig;
    _exit(50);
}

static void none_lost(void)
{
    int handled = 0, died = 0;
    for (int i = 0; i < 60; i++) {
        signal(SIGTERM, exits);
        pid_t child = fork();
        if (!child) {
            execve("/bin/sleep", ARGV("sleep", "100"), NO_ENV);
            _exit(9);
        }
        usleep((unsigned)i * 50);
        kill(child, SIGTERM);
        int end = sig_wait(child);
        CHECK(end == 50 || end == 1000 + SIGTERM);
        handled += end == 50;
        died += end != 50;
    }
    signal(SIGTERM, SIG_DFL);
    CHECK_IS(handled + died, 60);
    DONE("none lost");
}

static void *execs(void *arg)
{
    execve(self, ARGV("from a thread"), NO_ENV);
    return arg;
}

static void *waits(void *arg)
{
    pause();
    return arg;
}

static void threads(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pthread_t t;
        for (int i = 0; i < 3; i++)
            CHECK_IS(pthread_create(&t, NULL, waits, NULL), 0);
        CHECK_IS(pthread_create(&t, NULL, execs, NULL), 0);
        pause();
    }
    printf("ended with %d\n", sig_wait(child));
    DONE("threads");
}

static void vforked(void)
{
    volatile int shared = 1;
    for (int i = 0; i < 200; i++) {
        pid_t child = vfork();
        if (!child) {
            shared = i;
            signal(SIGUSR1, SIG_IGN);
            if (i % 2)
                _exit(i % 50);
            execve("missing", ARGV("x"), NO_ENV);
            _exit(errno);
        }
        CHECK_IS(shared, i);
        CHECK_IS(sig_wait(child), i % 2 ? i % 50 : ENOENT);
    }
    struct sigaction a;
    CHECK_IS(sigaction(SIGUSR1, NULL, &a), 0);
    CHECK(a.sa_handler == SIG_DFL);
    /* A child that dies of a signal. */
    for (int i = 0; i < 20; i++) {
        pid_t child = vfork();
        if (!child) {
            if (i % 2)
                kill(getpid(), SIGKILL);
            *(volatile int *)8 = 1;
        }
        CHECK_IS(sig_wait(child), 1000 + (i % 2 ? SIGKILL : SIGSEGV));
    }
    DONE("vfork");
}

static void spawned(void)
{
    pid_t child;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    CHECK_IS(posix_spawn(&child, "missing", NULL, NULL, ARGV("x"), NO_ENV), ENOENT);
    CHECK_IS(posix_spawn(&child, "/", NULL, NULL, ARGV("x"), NO_ENV), EACCES);
    CHECK_IS(posix_spawn_file_actions_init(&actions), 0);
    CHECK_IS(posix_spawn_file_actions_addopen(&actions, 0, "/no/such", O_RDONLY, 0), 0);
    CHECK_IS(posix_spawn(&child, self, &actions, NULL, ARGV("x"), NO_ENV), ENOENT);
    posix_spawn_file_actions_destroy(&actions);
    sigset_t mask = sig_of(SIGUSR1, SIGUSR2), defaults = sig_of(SIGPIPE, SIGUSR1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &mask);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    fflush(stdout);
    CHECK_IS(posix_spawn(&child, self, NULL, &attr, ARGV("spawned"), ARGV("E=5")), 0);
    printf("ended with %d\n", sig_wait(child));
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    fflush(stdout);
    CHECK_IS(system("exit 4") >> 8, 4);
    DONE("spawned");
}

static void *spawns(void *arg)
{
    for (int i = 0; i < 15; i++) {
        pid_t child;
        CHECK_IS(posix_spawn(&child, "/bin/true", NULL, NULL, ARGV("true"), NO_ENV), 0);
        CHECK_IS(sig_wait(child), 0);
        CHECK_IS(posix_spawn(&child, "missing", NULL, NULL, ARGV("true"), NO_ENV), ENOENT);
    }
    return arg;
}

static void spawned_by_threads(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        CHECK_IS(pthread_create(&t[i], NULL, spawns, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    DONE("spawned by threads");
}

int main(int argc, char **argv, char **envp)
{
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    if (getenv("TESTED") == NULL) {
        tells(argc, argv, envp);
        return argc;
    }
    files();
    arguments();
    descriptors();
    signals();
    none_lost();
    threads();
    vforked();
    spawned();
    spawned_by_threads();
    return 0;
}
