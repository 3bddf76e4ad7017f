/* Locks on files: flock, those of fcntl for processes and for open files; leases; identities. */
#include "check.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/types.h>
#include <sys/wait.h>

static int in_child(int (*work)(void))
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child)
        _exit(work());
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void by_flock(void)
{
    int one = open("lock", O_RDWR | O_CREAT, 0600), two = open("lock", O_RDWR);
    CHECK_IS(flock(one, LOCK_SH), 0);
    CHECK_IS(flock(two, LOCK_SH | LOCK_NB), 0);
    CHECK_ERROR(flock(two, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK_IS(flock(one, LOCK_UN), 0);
    CHECK_IS(flock(two, LOCK_EX | LOCK_NB), 0);
    CHECK_ERROR(flock(one, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    int same = dup(two);
    CHECK_IS(flock(same, LOCK_EX | LOCK_NB), 0);
    close(two);
    CHECK_ERROR(flock(one, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    close(same);
    CHECK_IS(flock(one, LOCK_SH | LOCK_NB), 0);
    CHECK_ERROR(flock(one, 77), EINVAL);
    DONE("flock");
}

static pid_t parent;

static int ask(void)
{
    int fd = open("lock", O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 5};
    if (fcntl(fd, F_GETLK, &lock))
        return 1;
    if (lock.l_type != F_WRLCK || lock.l_pid != parent || lock.l_start != 2 || lock.l_len != 10)
        return 2;
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 12, .l_len = 0};
    if (fcntl(fd, F_SETLK, &lock))
        return 3;
    lock.l_start = 11;
    if (fcntl(fd, F_SETLK, &lock) != -1 || (errno != EAGAIN && errno != EACCES))
        return 4;
    return 0;
}

static void by_fcntl(void)
{
    int fd = open("lock", O_RDWR), other = open("lock", O_RDWR);
    parent = getpid();
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 10};
    CHECK_IS(fcntl(fd, F_SETLK, &lock), 0);
    CHECK_IS(in_child(ask), 0);
    lock.l_type = F_RDLCK;
    CHECK_IS(fcntl(other, F_GETLK, &lock), 0);
    CHECK_IS(lock.l_type, F_UNLCK);

    /* Of open files: between two of one process, too. */
    struct flock mine = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
    CHECK_IS(fcntl(fd, F_OFD_SETLK, &mine), 0);
    CHECK_ERROR(fcntl(other, F_OFD_SETLK, &mine), EAGAIN);
    CHECK_IS(fcntl(other, F_OFD_GETLK, &mine), 0);
    CHECK(mine.l_type == F_WRLCK && mine.l_pid == -1);
    CHECK_IS(lockf(fd, F_TEST, 50), 0);
    close(other);
    CHECK_IS(fcntl(fd, F_SETOWN, getpid()), 0);
    CHECK_IS(fcntl(fd, F_GETOWN), getpid());
    struct f_owner_ex owner = {F_OWNER_TID, getpid()};
    CHECK_IS(fcntl(fd, F_SETOWN_EX, &owner), 0);
    memset(&owner, 0, sizeof(owner));
    CHECK_IS(fcntl(fd, F_GETOWN_EX, &owner), 0);
    CHECK(owner.type == F_OWNER_TID && owner.pid == getpid());
    CHECK_IS(fcntl(fd, F_SETSIG, SIGUSR1), 0);
    CHECK_IS(fcntl(fd, F_GETSIG), SIGUSR1);
    CHECK_ERROR(fcntl(fd, 12345), EINVAL);
    DONE("fcntl");
}

static int wait_for_lock(void)
{
    int fd = open("lock", O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 1};
    return fcntl(fd, F_SETLKW, &lock) ? 1 : 42;
}

static void waiting(void)
{
    int fd = open("lock", O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 10};
    CHECK_IS(fcntl(fd, F_SETLK, &lock), 0);
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        _exit(wait_for_lock());
    usleep(20000);
    int status;
    CHECK_IS(waitpid(child, &status, WNOHANG), 0);
    lock.l_type = F_UNLCK;
    CHECK_IS(fcntl(fd, F_SETLK, &lock), 0);
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(WEXITSTATUS(status), 42);
    int lease = open("lock", O_RDONLY);
    close(fd);
    if (!fcntl(lease, F_SETLEASE, F_RDLCK))
        CHECK_IS(fcntl(lease, F_GETLEASE), F_RDLCK);
    DONE("waiting");
}

static int change_identity(void)
{
    if (geteuid())
        return 0;
    gid_t groups[3] = {3, 5, 7}, got[8];
    if (setgroups(3, groups) || getgroups(8, got) != 3 || got[2] != 7)
        return 1;
    uid_t real, effective, saved;
    if (setresgid(11, 12, 13) || setresuid(21, 22, 23) || getresuid(&real, &effective, &saved))
        return 2;
    if (real != 21 || effective != 22 || saved != 23 || getegid() != 12 || getgid() != 11)
        return 3;
    if (setuid(0) != -1 || errno != EPERM)
        return 4;
    return setreuid((uid_t)-1, 21) || geteuid() != 21 ? 5 : 0;
}

static int session(void)
{
    pid_t self = getpid();
    return setsid() != self || getsid(0) != self || getpgid(0) != self || getpgrp() != self ||
           setpgid(0, 0) != -1 || errno != EPERM;
}

int main(void)
{
    by_flock();
    by_fcntl();
    waiting();
    CHECK_IS(in_child(change_identity), 0);
    CHECK_IS(in_child(session), 0);
    DONE("identities");
    return 0;
}
