/* What a program learns about itself: /proc, auxv, uname, names, affinity. */
#include "check.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>

extern char **environ;

/* Guise has two descriptors from here on (docs/process-vm.md). */
#define KEPT 1000

static char buffer[1 << 20];

static size_t slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    size_t size = 0;
    for (ssize_t n; (n = read(fd, buffer + size, sizeof(buffer) - 1 - size)) > 0;)
        size += (size_t)n;
    close(fd);
    buffer[size] = 0;
    return size;
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A program without threads has one: some decide by it whether fork is safe. */
static void tasks(void)
{
    slurp("/proc/self/status");
    CHECK(strstr(buffer, "Threads:\t1\n"));
    slurp("/proc/self/stat");
    const char *at = strchr(buffer, ')');
    for (int field = 2; field < 20; field++)
        at = strchr(at + 1, ' ');
    CHECK_IS(atoi(at), 1);
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    CHECK_IS(count, 1);
    DONE("tasks");
}

static void names(char **argv)
{
    char path[PATH_MAX] = {0}, *real = realpath(argv[0], NULL);
    CHECK(real);
    CHECK(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
    CHECK(!strcmp(path, real));
    snprintf(buffer, 100, "/proc/%d/exe", getpid());
    memset(path, 0, sizeof(path));
    CHECK(readlink(buffer, path, sizeof(path) - 1) > 0);
    CHECK(!strcmp(path, real));
    int fd = open("/proc/self/exe", O_RDONLY);
    struct stat one, two;
    CHECK_IS(fstat(fd, &one) | stat(real, &two), 0);
    CHECK_IS(one.st_ino, two.st_ino);
    Elf64_Ehdr header;
    CHECK_IS(read(fd, &header, sizeof(header)), sizeof(header));
    CHECK(!memcmp(header.e_ident, ELFMAG, SELFMAG));
    CHECK_IS(header.e_machine,
#ifdef __riscv
             EM_RISCV
#else
             EM_X86_64
#endif
    );
    CHECK(!strcmp((const char *)getauxval(AT_EXECFN), argv[0]));

    size_t size = slurp("/proc/self/cmdline"), at = 0;
    for (char **arg = argv; *arg; at += strlen(*arg++) + 1)
        CHECK(at < size && !strcmp(buffer + at, *arg));
    CHECK_IS(at, size);
    CHECK_IS(prctl(PR_SET_NAME, "renamed"), 0);
    slurp("/proc/self/comm");
    CHECK(!strcmp(buffer, "renamed\n"));
    char name[16];
    CHECK_IS(prctl(PR_GET_NAME, name), 0);
    CHECK(!strcmp(name, "renamed"));
    slurp("/proc/self/environ");
    CHECK(memmem(buffer, sizeof(buffer), "TESTED=yes", 11));
    CHECK(getenv("TESTED") && !strcmp(getenv("TESTED"), "yes"));
    slurp("/proc/self/stat");
    CHECK_IS(atoi(buffer), getpid());
    CHECK(strstr(buffer, "(renamed)"));
    slurp("/proc/self/status");
    CHECK(strstr(buffer, "Name:\trenamed\n"));
    DONE("names");
}

/* What another process reads about this one, also where arguments have been written over. */
static void told(char **argv)
{
    char path[64], before = argv[0][0];
    Elf64_auxv_t mine[2];
    int parent = getpid(), status;
    size_t size = slurp("/proc/self/auxv"), at = 0;
    CHECK(size > sizeof(mine));
    memcpy(mine, buffer, sizeof(mine));
    fflush(stdout);
    argv[0][0] = '*';
    if (!fork()) {
        snprintf(path, sizeof(path), "/proc/%d/cmdline", parent);
        size = slurp(path);
        for (char **arg = argv; *arg; at += strlen(*arg++) + 1)
            CHECK(at < size && !strcmp(buffer + at, *arg));
        CHECK_IS(at, size);
        snprintf(path, sizeof(path), "/proc/%d/environ", parent);
        size = slurp(path);
        CHECK(memmem(buffer, size, "TESTED=yes", 11));
        snprintf(path, sizeof(path), "/proc/%d/auxv", parent);
        CHECK(slurp(path) > sizeof(mine));
        CHECK(!memcmp(mine, buffer, sizeof(mine)));
        _exit(0);
    }
    CHECK(wait(&status) > 0);
    CHECK_IS(status, 0);
    slurp("/proc/self/cmdline");
    CHECK_IS(buffer[0], '*');
    argv[0][0] = before;
    DONE("told");
}

static void maps(void)
{
    static int data = 5;
    static const int constant = 6;
    int local = 7, found = 0;
    void *heap = malloc(10);
    char *own = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_IS(mprotect(own + 4096, 4096, PROT_READ | PROT_EXEC), 0);
    struct {
        const void *at;
        const char *permissions, *name;
        int seen;
    } want[] = {{(void *)maps, "r-xp", "sys_self", 0}, {&data, "rw-p", "sys_self", 0},
                {&constant, "r--p", "sys_self", 0},    {&local, "rw-p", "[stack]", 0},
                {heap, "rw-p", "[heap]", 0},           {own, "rw-p", "", 0},
                {own + 4096, "r-xp", "", 0},           {own + 8192, "rw-p", "", 0}};
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    FILE *file = fdopen(fd, "r");
    uint64_t last = 0;
    for (char line[4096 + 200]; fgets(line, sizeof(line), file); found++) {
        uint64_t start, end, offset, inode;
        char permissions[5], device[16], name[4097] = "";
        CHECK(sscanf(line, "%lx-%lx %4s %lx %15s %lu %4096[^\n]", &start, &end, permissions,
                     &offset, device, &inode, name) >= 6);
        CHECK(start >= last && end > start);
        last = end;
        for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
            if ((uint64_t)want[i].at < start || (uint64_t)want[i].at >= end)
                continue;
            want[i].seen++;
            /* Static programs have their constants in the pages of their code. */
            if (strcmp(permissions, want[i].permissions) && want[i].at != (const void *)&constant)
                check_failed(__FILE__, __LINE__, "%u is not %s: %s", i, want[i].permissions, line);
            if (!strstr(name, want[i].name))
                check_failed(__FILE__, __LINE__, "%u is not %s: %s", i, want[i].name, line);
        }
    }
    CHECK(found > 5 && feof(file));
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        CHECK_IS(want[i].seen, 1);
    fclose(file);
    free(heap);

    /* Memory by its file. */
    fd = open("/proc/self/mem", O_RDWR);
    CHECK(fd >= 0);
    int value = 0;
    CHECK_IS(pread(fd, &value, sizeof(value), (off_t)(uintptr_t)&data), sizeof(value));
    CHECK_IS(value, 5);
    value = 50;
    CHECK_IS(pwrite(fd, &value, sizeof(value), (off_t)(uintptr_t)&data), sizeof(value));
    CHECK_IS(*(volatile int *)&data, 50);
    close(fd);
    CHECK(slurp("/proc/self/smaps") > 500);
    CHECK(slurp("/proc/self/statm") > 5);
    DONE("maps");
}

static void auxiliary(void)
{
    size_t size = slurp("/proc/self/auxv");
    int count = 0;
    for (Elf64_auxv_t *at = (void *)buffer; (char *)at < buffer + size && at->a_type;
         at++, count++) {
        /* The C library keeps its own figures of an x86-64 processor. */
        if (at->a_type != AT_HWCAP && at->a_type != AT_HWCAP2)
            CHECK_IS(getauxval(at->a_type), at->a_un.a_val);
    }
    CHECK(count > 10);
    CHECK_IS(getauxval(AT_PAGESZ), 4096);
    CHECK_IS(sysconf(_SC_PAGESIZE), 4096);
    CHECK_IS(getauxval(AT_UID), getuid());
    CHECK_IS(getauxval(AT_EGID), getegid());
    CHECK_IS(getauxval(AT_SECURE), 0);
    CHECK_IS(getauxval(AT_CLKTCK), 100);
    CHECK_IS(getauxval(AT_PHENT), sizeof(Elf64_Phdr));
    CHECK(getauxval(AT_PHNUM) > 3 && getauxval(AT_PHDR) && getauxval(AT_ENTRY));
    const Elf64_Phdr *header = (void *)getauxval(AT_PHDR);
    int loads = 0;
    for (unsigned i = 0; i < getauxval(AT_PHNUM); i++)
        loads += header[i].p_type == PT_LOAD;
    CHECK(loads >= 2);
    const unsigned char *random = (void *)getauxval(AT_RANDOM);
    int bits = 0;
    for (int i = 0; i < 16; i++)
        bits |= random[i];
    CHECK(bits);
#ifdef __riscv
    /* I, M, A, F, D, C. */
    unsigned long need = 1 << ('I' - 'A') | 1 << ('M' - 'A') | 1 | 1 << 5 | 1 << 3 | 1 << 2;
    CHECK_IS(getauxval(AT_HWCAP) & need, need);
    if (getauxval(AT_SYSINFO_EHDR))
        CHECK(!memcmp((void *)getauxval(AT_SYSINFO_EHDR), ELFMAG, SELFMAG));
    struct utsname name;
    CHECK_IS(uname(&name), 0);
    CHECK(!strcmp(name.machine, "riscv64"));
    CHECK(slurp("/proc/cpuinfo") > 50);
    CHECK(strstr(buffer, "rv64"));
#endif
    DONE("auxiliary");
}

static void system_wide(void)
{
    struct utsname name;
    CHECK_IS(uname(&name), 0);
    printf("%s\n", name.sysname);
    char host[65];
    CHECK_IS(gethostname(host, sizeof(host)), 0);
    CHECK(!strcmp(host, name.nodename));
    struct sysinfo info;
    CHECK_IS(sysinfo(&info), 0);
    CHECK(info.totalram > info.freeram && info.mem_unit >= 1 && info.procs >= 1);
    cpu_set_t set;
    CPU_ZERO(&set);
    CHECK_IS(sched_getaffinity(0, sizeof(set), &set), 0);
    CHECK(CPU_COUNT(&set) >= 1 && CPU_COUNT(&set) <= sysconf(_SC_NPROCESSORS_CONF));
    unsigned cpu = 9999, node = 9999;
    CHECK_IS(getcpu(&cpu, &node), 0);
    CHECK(CPU_ISSET(cpu, &set));
    unsigned char one[64] = {0}, two[64] = {0};
    CHECK_IS(getrandom(one, 64, 0), 64);
    CHECK_IS(getrandom(two, 64, GRND_NONBLOCK), 64);
    CHECK(memcmp(one, two, 64));
    CHECK_ERROR(getrandom(one, 64, 0x1000), EINVAL);
    DONE("system");
}

static void descriptors(void)
{
    int fd = open("a file", O_RDWR | O_CREAT, 0600), seen = 0, other = 0;
    CHECK(fd >= 0);
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        int number = atoi(entry->d_name);
        if (number > 2 && number != fd && number != dirfd(dir) && number < KEPT)
            other++;
        seen += number == fd;
    }
    closedir(dir);
    CHECK_IS(seen, 1);
    /* Nothing may be in the way where programs count from. */
    CHECK_IS(other, 0);
    char path[PATH_MAX] = {0}, link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    CHECK(readlink(link, path, sizeof(path) - 1) > 0);
    CHECK(!strcmp(base(path), "a file"));
    CHECK_IS(fd, 3);
    DONE("descriptors");
}

/* Nothing more is open in a program with room for few descriptors. */
static void few_descriptors(const char *program)
{
    struct rlimit limit;
    int status;
    fflush(stdout);
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 20;
    if (!fork()) {
        CHECK_IS(setrlimit(RLIMIT_NOFILE, &limit), 0);
        execl(program, program, "scan", NULL);
        _exit(99);
    }
    CHECK(wait(&status) > 0);
    CHECK_IS(status, 0);
    DONE("few descriptors");
}

static int scan(void)
{
    struct stat s;
    for (int fd = 0; fd < 30; fd++)
        printf("%d: %d %d %d %d\n", fd, fstat(fd, &s), fcntl(fd, F_GETFD) < 0, fchdir(fd),
               fstatat(fd, "", &s, AT_EMPTY_PATH));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return scan();
    char comm[32] = {0};
    int fd = open("/proc/self/comm", O_RDONLY);
    CHECK(read(fd, comm, sizeof(comm) - 1) > 0);
    close(fd);
    descriptors();
    few_descriptors(argv[0]);
    names(argv);
    told(argv);
    maps();
    auxiliary();
    system_wide();
    printf("comm was %s", comm);
    tasks();
    return 0;
}
