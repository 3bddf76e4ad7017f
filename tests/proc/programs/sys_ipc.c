/* System V and POSIX shared memory, semaphores and message queues, between two processes. */
#include "check.h"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static void finish(pid_t child)
{
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 0);
}

static void memory(void)
{
    int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
    if (id < 0 && errno == ENOSYS)
        SKIP("no System V IPC");
    CHECK(id >= 0);
    int *at = shmat(id, NULL, 0);
    CHECK(at != (void *)-1);
    struct shmid_ds info;
    CHECK_IS(shmctl(id, IPC_STAT, &info), 0);
    printf("segment: size %zu mode %o attached %lu\n", info.shm_segsz, info.shm_perm.mode,
           (unsigned long)info.shm_nattch);
    CHECK_IS(info.shm_cpid, getpid());
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        at[10] = 4711;
        _exit(0);
    }
    finish(child);
    CHECK_IS(at[10], 4711);
    int *again = shmat(id, NULL, SHM_RDONLY);
    CHECK(again != at && again[10] == 4711);
    CHECK_IS(shmdt(again), 0);
    CHECK_ERROR(shmdt(again), EINVAL);
    info.shm_perm.mode = 0640;
    CHECK_IS(shmctl(id, IPC_SET, &info), 0);
    CHECK_IS(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_IS(at[10], 4711);
    CHECK_IS(shmdt(at), 0);
    CHECK_ERROR(shmctl(id, IPC_STAT, &info), EINVAL);
    DONE("memory");
}

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static void semaphores(void)
{
    int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
    CHECK(id >= 0);
    unsigned short values[3] = {1, 2, 3};
    CHECK_IS(semctl(id, 0, SETALL, (union semun){.array = values}), 0);
    CHECK_IS(semctl(id, 1, GETVAL), 2);
    struct sembuf take[2] = {{0, -1, 0}, {2, -3, IPC_NOWAIT}};
    CHECK_IS(semop(id, take, 2), 0);
    CHECK_ERROR(semop(id, take + 1, 1), EAGAIN);
    struct timespec little = {0, 10000000};
    CHECK_ERROR(semtimedop(id, take, 1, &little), EAGAIN);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        struct sembuf give = {0, 1, 0};
        usleep(10000);
        _exit(semop(id, &give, 1) ? 1 : 0);
    }
    CHECK_IS(semop(id, take, 1), 0);
    CHECK_IS(semctl(id, 0, GETPID), getpid());
    finish(child);
    struct semid_ds info;
    CHECK_IS(semctl(id, 0, IPC_STAT, (union semun){.buf = &info}), 0);
    printf("semaphores: %lu mode %o\n", (unsigned long)info.sem_nsems, info.sem_perm.mode);
    CHECK(info.sem_otime > 1000000000);
    CHECK_IS(semctl(id, 0, IPC_RMID), 0);
    DONE("semaphores");
}

static void messages(void)
{
    struct {
        long type;
        char text[32];
    } message = {5, "first"}, got;
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    CHECK_IS(msgsnd(id, &message, 6, 0), 0);
    message.type = 3;
    strcpy(message.text, "second");
    CHECK_IS(msgsnd(id, &message, 7, 0), 0);
    struct msqid_ds info;
    CHECK_IS(msgctl(id, IPC_STAT, &info), 0);
    CHECK_IS(info.msg_qnum, 2);
    CHECK_IS(msgrcv(id, &got, 32, 3, 0), 7);
    CHECK(got.type == 3 && !strcmp(got.text, "second"));
    CHECK_ERROR(msgrcv(id, &got, 2, 0, 0), E2BIG);
    CHECK_IS(msgrcv(id, &got, 2, 0, MSG_NOERROR), 2);
    CHECK_ERROR(msgrcv(id, &got, 32, 0, IPC_NOWAIT), ENOMSG);
    CHECK_IS(msgctl(id, IPC_RMID, NULL), 0);
    DONE("messages");
}

static void posix(void)
{
    char name[64];
    snprintf(name, sizeof(name), "/guise-test-%d", getpid());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK_IS(ftruncate(fd, 4096), 0);
    struct {
        sem_t ping, pong;
        int value;
    } *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    CHECK_IS(shm_unlink(name), 0);
    CHECK_ERROR(shm_unlink(name), ENOENT);
    CHECK_IS(sem_init(&at->ping, 1, 0) | sem_init(&at->pong, 1, 0), 0);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 200; i++) {
            sem_wait(&at->ping);
            at->value = at->value * 3 + i;
            sem_post(&at->pong);
        }
        _exit(0);
    }
    unsigned expected = 0;
    for (unsigned i = 0; i < 200; i++) {
        CHECK_IS(sem_post(&at->ping) | sem_wait(&at->pong), 0);
        expected = expected * 3 + i;
        CHECK_IS((unsigned)at->value, expected);
    }
    finish(child);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec = (soon.tv_nsec + 10000000) % 1000000000;
    CHECK_ERROR(sem_timedwait(&at->ping, &soon), ETIMEDOUT);
    DONE("shared by name");

    struct mq_attr attributes = {.mq_maxmsg = 3, .mq_msgsize = 50};
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attributes);
    if (queue == (mqd_t)-1) {
        CHECK(errno == ENOSYS || errno == EACCES);
        DONE("queue");
        return;
    }
    CHECK_IS(mq_send(queue, "low", 4, 1), 0);
    CHECK_IS(mq_send(queue, "high", 5, 9), 0);
    CHECK_IS(mq_getattr(queue, &attributes), 0);
    CHECK(attributes.mq_curmsgs == 2 && attributes.mq_msgsize == 50);
    char buffer[50];
    unsigned priority;
    CHECK_IS(mq_receive(queue, buffer, 50, &priority), 5);
    CHECK(priority == 9 && !strcmp(buffer, "high"));
    CHECK_IS(mq_receive(queue, buffer, 50, NULL), 4);
    CHECK_ERROR(mq_receive(queue, buffer, 50, NULL), EAGAIN);
    CHECK_IS(mq_unlink(name), 0);
    DONE("queue");
}

int main(void)
{
    memory();
    semaphores();
    messages();
    posix();
    return 0;
}
