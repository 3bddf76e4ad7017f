/*
 * Memory for generated code, writable through one mapping and executable through another.
 *
 * No mapping of a machine's is ever both writable and executable (W^X): one memfd is mapped twice,
 * "rw" for the writer and "rx" for execution, at unrelated addresses. A distance between two places
 * is the same in both views, so relative jumps inside the memory may be computed in either. The
 * size is fixed and at most CODEMEM_MAX, so that a rel32 reaches from anywhere to anywhere; pages
 * become resident when they are first written.
 *
 * Allocation is in granules of CODEMEM_GRANULE bytes (a cache line), next fit over a bitmap kept
 * outside of the memory; neighbours that are free merge by themselves. An allocation takes time
 * linear in size / 4096 in the worst case.
 *
 * Threads: alloc, trim, free, reset need the owner's lock; address translation and execution need
 * none. Memory may be freed only when no thread executes it or will: the owner's matter. Freed
 * memory is filled with int3.
 *
 * A process that runs programs of another machine (proc/) has memory of the other kind: one private
 * mapping, writable and executable, so that fork copies it as it copies the rest.
 *
 * Fork: the child of a process with shared memory of this kind must neither run nor write it. The
 * file descriptor is closed after mapping and sealed against resizing: no other process can map it,
 * and no access to it can raise SIGBUS except when the host is out of memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define CODEMEM_GRANULE 64
#define CODEMEM_MAX (UINT64_C(1) << 30)

struct codemem {
    uint8_t *rw;
    const uint8_t *rx;
    size_t size;     /* bytes */
    size_t used;     /* bytes allocated, in granules */
    size_t rover;    /* granule where the next search begins */
    size_t ready;    /* bytes from the start whose pages are there to be written, see populate.h */
    size_t huge;     /* bytes from the start that have huge pages or could not get any */
    uint64_t *taken; /* a bit for each granule */
};

/* size: rounded up to a page; 1 to CODEMEM_MAX. -EINVAL, -ENOMEM, or what mmap says. */
int codemem_init(struct codemem *m, size_t size, struct error *err);
/* Of the private kind: rw and rx are the same place. */
int codemem_init_private(struct codemem *m, size_t size, struct error *err);
void codemem_fini(struct codemem *m);

/* n bytes in the rw view, aligned to a granule; NULL: no run of free granules is that long. */
uint8_t *codemem_alloc(struct codemem *m, size_t n);
/* Gives back what lies beyond the first n bytes (n > 0) of an allocation of old bytes. */
void codemem_trim(struct codemem *m, uint8_t *rw, size_t old, size_t n);
/* n: as it was allocated or trimmed. */
void codemem_free(struct codemem *m, uint8_t *rw, size_t n);
/*
 * To be called now and then while code is written: the rw view takes no more memory of the process
 * until it is used again (its contents stay), and where the rx view is full it gets huge pages.
 */
void codemem_settle(struct codemem *m);
/* Frees everything and gives the pages back to the host. */
void codemem_reset(struct codemem *m);

/* The same place in the other view; also for the address one past the end. */
static inline const uint8_t *codemem_to_rx(const struct codemem *m, const uint8_t *rw)
{
    return m->rx + (rw - m->rw);
}

static inline uint8_t *codemem_to_rw(const struct codemem *m, const uint8_t *rx)
{
    return m->rw + (rx - m->rx);
}

/* Is a host pc in this memory? */
static inline bool codemem_has_pc(const struct codemem *m, uintptr_t pc)
{
    return pc - (uintptr_t)m->rx < m->size;
}
