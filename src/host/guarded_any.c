/*
 * Guarded accesses without a handler of faults: the kernel copies, and tells what is not there. For
 * hosts that have no translator yet; slow. The kernel copies aligned words in one piece on the
 * hosts that guise is built for.
 */
#include "host/guarded.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE ((uintptr_t)4096)

/* Of `size` bytes at p, those up to the end of a page. */
static size_t guarded_piece(const void *p, size_t size)
{
    size_t rest = PAGE - (uintptr_t)p % PAGE;
    return size < rest ? size : rest;
}

/* size: at most 2 GiB. process_vm_readv moves data from `remote` to `local`, writev the other way.
 */
static bool guarded_move(long call, const void *local, const void *remote, size_t size)
{
    const struct iovec here = {(void *)(uintptr_t)local, size};
    const struct iovec there = {(void *)(uintptr_t)remote, size};
    return syscall(call, getpid(), &here, 1L, &there, 1L, 0L) == (long)size;
}

/* By pages: only one of the two sides of a call may be absent, and each is once the far side. */
bool guarded_copy(void *to, const void *from, size_t size)
{
    uint8_t page[PAGE], *out = to;
    for (const uint8_t *in = from; size;) {
        size_t n = guarded_piece(out, guarded_piece(in, size));
        if (!guarded_move(SYS_process_vm_readv, page, in, n) ||
            !guarded_move(SYS_process_vm_writev, page, out, n))
            return false;
        in += n;
        out += n;
        size -= n;
    }
    return true;
}

bool guarded_clear(void *to, size_t size)
{
    static const uint8_t zeros[PAGE];
    for (uint8_t *out = to; size;) {
        size_t n = guarded_piece(out, size);
        if (!guarded_move(SYS_process_vm_writev, zeros, out, n))
            return false;
        out += n;
        size -= n;
    }
    return true;
}

ptrdiff_t guarded_strlen(const char *s, size_t max)
{
    char page[PAGE];
    for (size_t done = 0; done < max;) {
        size_t n = guarded_piece(s + done, max - done);
        if (!guarded_move(SYS_process_vm_readv, page, s + done, n))
            return -1;
        size_t len = strnlen(page, n);
        done += len;
        if (len < n)
            return (ptrdiff_t)done;
    }
    return -1;
}

bool guarded_load(const void *p, unsigned size, uint64_t *value)
{
    uint64_t v = 0;
    if (!guarded_move(SYS_process_vm_readv, &v, p, size))
        return false;
    *value = v;
    return true;
}

bool guarded_store(void *p, unsigned size, uint64_t value)
{
    return guarded_move(SYS_process_vm_writev, &value, p, size);
}

/* A futex call that ORs 0 to the word, in the kernel, before it wakes nobody. */
bool guarded_writable(void *p)
{
    uint32_t own = 0;
    return syscall(SYS_futex, &own, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0L, 0L, p,
                   FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0)) >= 0;
}

/*
 * The kernel has no such call, so a word that another thread takes away between the question and
 * the exchange still means SIGSEGV.
 */
bool guarded_cas(void *p, unsigned size, uint64_t *expected, uint64_t desired)
{
    if (!guarded_writable(p))
        return false;
    if (size == 8) {
        __atomic_compare_exchange_n((uint64_t *)p, expected, desired, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return true;
    }
    uint32_t old = (uint32_t)*expected;
    if (!__atomic_compare_exchange_n((uint32_t *)p, &old, (uint32_t)desired, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        *expected = old;
    return true;
}
