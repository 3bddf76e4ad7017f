/* A thread is in a loop without end, which another thread ends: by writing over it, by taking away
 * its page, by a signal. */
#include "check.h"
#include "jit.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>

#define ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

static _Thread_local sigjmp_buf back;
static _Thread_local int signal_number;
static atomic_int running;

static void caught(int number)
{
    signal_number = number;
    siglongjmp(back, 1);
}

static void *loops(void *code)
{
    if (sigsetjmp(back, 1))
        return (void *)(intptr_t)(1000 + signal_number);
    running = 1;
    return (void *)(intptr_t)jit_call(code, 5);
}

static void write_loop(unsigned char *at)
{
    /* Behind it, what is to happen when it has been written over by nothing. */
#ifdef __riscv
    jit_return(jit_word(at, 0x0000006f), 77);
#else
    jit_return(jit_bytes(at, "\xeb\xfe\x90\x90", 4), 77);
#endif
    jit_flush(at, at + JIT_SIZE);
}

static void end_loop(unsigned char *at)
{
#ifdef __riscv
    const uint32_t nothing = 0x00000013;
#else
    const uint32_t nothing = 0x90909090;
#endif
    __atomic_store_n((uint32_t *)(void *)at, nothing, __ATOMIC_RELEASE);
    jit_flush(at, at + 4);
}

static int with(void (*end)(unsigned char *at, pthread_t thread))
{
    unsigned char *at = jit_memory(4096, ALL);
    write_loop(at);
    pthread_t thread;
    void *result;
    running = 0;
    CHECK_IS(pthread_create(&thread, NULL, loops, at), 0);
    while (!running)
        usleep(100);
    usleep(3000);
    end(at, thread);
    CHECK_IS(pthread_join(thread, &result), 0);
    munmap(at, 4096);
    return (int)(intptr_t)result;
}

static void by_store(unsigned char *at, pthread_t thread)
{
    (void)thread;
    end_loop(at);
}

static void by_mprotect(unsigned char *at, pthread_t thread)
{
    (void)thread;
    CHECK_IS(mprotect(at, 4096, PROT_READ | PROT_WRITE), 0);
}

static void by_munmap(unsigned char *at, pthread_t thread)
{
    (void)thread;
    CHECK_IS(munmap(at, 4096), 0);
}

static void by_mmap(unsigned char *at, pthread_t thread)
{
    (void)thread;
    CHECK(mmap(at, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
}

static void by_signal(unsigned char *at, pthread_t thread)
{
    (void)at;
    CHECK_IS(pthread_kill(thread, SIGUSR1), 0);
}

int main(void)
{
    signal(SIGSEGV, caught);
    signal(SIGUSR1, caught);
    for (int i = 0; i < 20; i++)
        printf("store %d, mprotect %d, munmap %d, mmap %d, signal %d\n", with(by_store),
               with(by_mprotect) - SIGSEGV, with(by_munmap) - SIGSEGV, with(by_mmap) - SIGSEGV,
               with(by_signal) - SIGUSR1);
    return 0;
}
