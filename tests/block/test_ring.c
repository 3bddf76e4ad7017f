/* A ring takes what disks need, and nothing else: the list of system calls cannot see into it. */
#include "block/ring_uring.c"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void no_completion(void *ctx, struct block_request *r, int result)
{
    (void)ctx;
    (void)r;
    (void)result;
}

/* What the kernel makes of one entry. */
static int ask(struct ring *ring, void (*prepare)(struct io_uring_sqe *sqe))
{
    struct io_uring_cqe *cqe;
    prepare(io_uring_get_sqe(&ring->uring));
    if (io_uring_submit_and_wait(&ring->uring, 1) < 0 || io_uring_wait_cqe(&ring->uring, &cqe))
        return -EIO;
    int result = cqe->res;
    io_uring_cqe_seen(&ring->uring, cqe);
    return result;
}

static void prepare_nothing(struct io_uring_sqe *sqe)
{
    io_uring_prep_nop(sqe);
}

static void prepare_open(struct io_uring_sqe *sqe)
{
    io_uring_prep_openat(sqe, AT_FDCWD, "/", O_RDONLY, 0);
}

static void prepare_unlink(struct io_uring_sqe *sqe)
{
    io_uring_prep_unlinkat(sqe, AT_FDCWD, "/no such file", 0);
}

static void prepare_send(struct io_uring_sqe *sqe)
{
    io_uring_prep_send(sqe, -1, "", 1, 0);
}

static void prepare_connect(struct io_uring_sqe *sqe)
{
    io_uring_prep_connect(sqe, -1, NULL, 0);
}

int main(void)
{
    struct ring *ring = ring_new(no_completion, NULL);
    if (!ring) {
        puts("this host has no io_uring, or none that can be restricted");
        return 77;
    }
    int failed = ask(ring, prepare_nothing) != 0;
    failed |= ask(ring, prepare_open) != -EACCES;
    failed |= ask(ring, prepare_unlink) != -EACCES;
    failed |= ask(ring, prepare_send) != -EACCES;
    failed |= ask(ring, prepare_connect) != -EACCES;
    struct io_uring_restriction more = {.opcode = IORING_RESTRICTION_SQE_OP,
                                        .sqe_op = IORING_OP_OPENAT};
    failed |= io_uring_register_restrictions(&ring->uring, &more, 1) >= 0;
    ring_free(ring);
    puts(failed ? "the ring does more than it should" : "the ring does reads and writes only");
    return failed;
}
