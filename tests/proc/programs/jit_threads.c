/*
 * Code changed by one thread while another one runs it. After the change has been announced the
 * other must run the new code; in between, the old or the new one.
 */
#include "check.h"
#include "jit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define THREADS 3
#define CHANGES 400

static unsigned char *code;
static atomic_int announced, seen[THREADS];
static atomic_bool stop;

static void *runs(void *which)
{
    int me = (int)(intptr_t)which, last = -1;
    while (!stop) {
        int before = announced;
        int value = jit_call(code, 0);
        int after = announced;
        /* Never older than what was announced before the call; at most one change ahead. */
        if (value < before || value > after + 1)
            check_failed(__FILE__, __LINE__, "%d after %d was announced (then %d)", value, before,
                         after);
        if (value < last)
            check_failed(__FILE__, __LINE__, "%d after %d", value, last);
        last = value;
        seen[me] = value;
    }
    return NULL;
}

/* The change is one store of an aligned word: a jump to the new function. */
static void change(unsigned char *trampoline, unsigned char *target)
{
#ifdef __riscv
    uint32_t word;
    unsigned char jump[8];
    uint32_t d = (uint32_t)(target - trampoline);
    jit_word(jump, (d >> 20 & 1) << 31 | (d >> 1 & 0x3ff) << 21 | (d >> 11 & 1) << 20 |
                       (d >> 12 & 0xff) << 12 | 0x6f);
    memcpy(&word, jump, 4);
    __atomic_store_n((uint32_t *)(void *)trampoline, word, __ATOMIC_RELEASE);
#else
    uint64_t word;
    unsigned char jump[8] = {0xe9, 0, 0, 0, 0, 0x90, 0x90, 0x90};
    int32_t d = (int32_t)(target - trampoline - 5);
    memcpy(jump + 1, &d, 4);
    memcpy(&word, jump, 8);
    __atomic_store_n((uint64_t *)(void *)trampoline, word, __ATOMIC_RELEASE);
#endif
    jit_flush(trampoline, trampoline + 8);
}

int main(void)
{
    pthread_t threads[THREADS];
    size_t size = 64 + (CHANGES + 1) * JIT_SIZE;
    code = jit_memory(size, PROT_READ | PROT_WRITE | PROT_EXEC);
    unsigned char *functions = code + 64;
    jit_return(functions, 0);
    jit_flush(code, code + size);
    change(code, functions);
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&threads[i], NULL, runs, (void *)(intptr_t)i), 0);
    for (int i = 1; i <= CHANGES; i++) {
        unsigned char *target = functions + i * JIT_SIZE;
        jit_flush(target, jit_return(target, i));
        change(code, target);
        announced = i;
        if (i % 50 == 0)
            for (int thread = 0; thread < THREADS; thread++)
                while (seen[thread] < i)
                    usleep(100);
    }
    stop = true;
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_join(threads[i], NULL), 0);
    printf("changed %d times\n", announced);
    return 0;
}
