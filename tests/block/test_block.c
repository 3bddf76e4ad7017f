/* Disks: raw images, their tail, locks, and what is refused. Uses a directory under TMPDIR. */
#include "block/block.h"
#include "block/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[256], path[300];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%.200s/guise-block-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/disk.img", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

/* A file whose byte i is i % 251. */
static void make_image(size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < size; i++)
        fputc((int)(i % 251), f);
    assert_int_equal(fclose(f), 0);
}

static off_t image_size(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static struct block *open_image(bool readonly)
{
    struct error err = {0};
    struct block *b = block_open(path, &(struct block_options){.readonly = readonly}, &err);
    if (!b)
        fail_msg("%s", err.msg);
    return b;
}

static int read_at(struct block *b, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    return block_readv(b, offset, &iov, 1);
}

static int write_at(struct block *b, uint64_t offset, const void *buf, size_t len)
{
    struct iovec iov = {(void *)buf, len};
    return block_writev(b, offset, &iov, 1);
}

static void assert_refused(const char *file, bool readonly, int code, const char *sentence)
{
    struct error err = {0};
    assert_null(block_open(file, &(struct block_options){.readonly = readonly}, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, sentence) || !strstr(err.msg, file))
        fail_msg("'%s' does not say '%s' of '%s'", err.msg, sentence, file);
}

static void unusable_files_are_refused_with_a_sentence(void **state)
{
    (void)state;
    assert_refused(path, false, ENOENT, "No such file");
    assert_refused(dir, true, EISDIR, "is a directory");
    assert_refused("/dev/null", true, EINVAL, "neither a file nor a block device");
    make_image(0);
    assert_refused(path, false, EINVAL, "is empty");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
    assert_refused(path, true, EINVAL, "neither a file nor a block device");
}

static void a_file_without_write_permission_can_be_read(void **state)
{
    (void)state;
    make_image(1024);
    assert_int_equal(chmod(path, 0400), 0);
    if (geteuid() == 0) {
        if (seteuid(65534))
            skip();
        assert_int_equal(seteuid(0) | chown(path, 65534, 65534) | chown(dir, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    struct error err = {0};
    struct block *w = block_open(path, &(struct block_options){0}, &err);
    struct block *r = block_open(path, &(struct block_options){.readonly = true}, NULL);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_null(w);
    assert_int_equal(err.code, EACCES);
    assert_non_null(strstr(err.msg, "cannot write to it"));
    assert_non_null(r);
    assert_true(block_readonly(r));
    block_free(r);
}

static void what_is_written_is_read_across_many_vectors(void **state)
{
    (void)state;
    make_image(1 << 20);
    struct block *b = open_image(false);
    assert_int_equal(block_size(b), 1 << 20);
    static uint8_t in[300][512], out[300 * 512];
    struct iovec iov[300];
    for (int i = 0; i < 300; i++) {
        memset(in[i], i & 0xff, sizeof in[i]);
        iov[i] = (struct iovec){in[i], i % 7 == 3 ? 0 : sizeof in[i]};
    }
    assert_int_equal(block_writev(b, 4096, iov, 300), 0);
    assert_int_equal(block_flush(b), 0);
    size_t pos = 0;
    assert_int_equal(read_at(b, 4096, out, sizeof out), 0);
    for (int i = 0; i < 300; i++)
        if (i % 7 != 3)
            assert_memory_equal(out + 512 * pos++, in[i], 512);
    assert_int_equal(pos, 257);
    assert_int_equal(out[257 * 512], (4096 + 257 * 512) % 251); /* the rest is untouched */
    memset(in, 0, sizeof in);
    assert_int_equal(block_readv(b, 4096, iov, 300), 0);
    assert_int_equal(in[0][0], 0);
    assert_int_equal(in[299][511], 299 & 0xff);
    block_free(b);
}

static void requests_beyond_the_end_are_refused(void **state)
{
    (void)state;
    uint8_t buf[1024];
    make_image(4096);
    struct block *b = open_image(false);
    assert_int_equal(read_at(b, 3584, buf, 512), 0);
    assert_int_equal(read_at(b, 3584, buf, 513), -EINVAL);
    assert_int_equal(write_at(b, 4096, buf, 1), -EINVAL);
    assert_int_equal(write_at(b, 4096, buf, 0), 0);
    assert_int_equal(write_at(b, UINT64_MAX, buf, 512), -EINVAL);
    assert_int_equal(write_at(b, UINT64_MAX - 511, buf, 512), -EINVAL);
    struct iovec huge[2] = {{buf, SIZE_MAX}, {buf, 512}};
    assert_int_equal(block_writev(b, 0, huge, 2), -EINVAL);
    assert_int_equal(block_discard(b, 0, 4097), -EINVAL);
    assert_int_equal(block_write_zeroes(b, 1, UINT64_MAX, true), -EINVAL);
    block_free(b);
    assert_int_equal(image_size(), 4096);
}

static void a_readonly_disk_does_not_change(void **state)
{
    (void)state;
    uint8_t buf[512] = {0};
    make_image(4096);
    struct block *b = open_image(true);
    assert_true(block_readonly(b));
    assert_int_equal(write_at(b, 0, buf, 512), -EROFS);
    assert_int_equal(block_discard(b, 0, 512), -EROFS);
    assert_int_equal(block_write_zeroes(b, 0, 512, true), -EROFS);
    assert_int_equal(block_flush(b), 0);
    assert_int_equal(read_at(b, 0, buf, 512), 0);
    assert_int_equal(buf[511], 511 % 251);
    block_free(b);
}

static void the_last_sector_is_filled_up(void **state)
{
    (void)state;
    uint8_t buf[1024];
    make_image(1000);
    struct block *b = open_image(false);
    assert_int_equal(block_size(b), 1024);
    memset(buf, 0xee, sizeof buf);
    assert_int_equal(read_at(b, 0, buf, 1024), 0);
    assert_int_equal(buf[999], 999 % 251);
    for (int i = 1000; i < 1024; i++)
        assert_int_equal(buf[i], 0);
    assert_int_equal(image_size(), 1000); /* reading changes nothing */
    assert_int_equal(write_at(b, 0, buf, 512), 0);
    assert_int_equal(image_size(), 1000);
    memset(buf, 0x55, sizeof buf);
    assert_int_equal(write_at(b, 512, buf, 512), 0);
    assert_int_equal(image_size(), 1024);
    memset(buf, 0, sizeof buf);
    assert_int_equal(read_at(b, 1023, buf, 1), 0);
    assert_int_equal(buf[0], 0x55);
    block_free(b);
}

static void a_file_that_was_cut_is_an_io_error(void **state)
{
    (void)state;
    uint8_t buf[512];
    make_image(4096);
    struct block *b = open_image(true);
    assert_int_equal(truncate(path, 512), 0);
    assert_int_equal(read_at(b, 0, buf, 512), 0);
    assert_int_equal(read_at(b, 512, buf, 512), -EIO);
    block_free(b);
}

static void one_writer_or_many_readers(void **state)
{
    (void)state;
    make_image(4096);
    struct block *w = open_image(false);
    assert_refused(path, false, EBUSY, "another program uses this disk");
    assert_refused(path, true, EBUSY, "open for writing");
    block_free(w);
    struct block *r1 = open_image(true), *r2 = open_image(true);
    assert_refused(path, false, EBUSY, "another program uses this disk");
    block_free(r1);
    block_free(r2);
    block_free(open_image(false));
}

static void zeroes_are_written_with_and_without_unmap(void **state)
{
    (void)state;
    static uint8_t buf[262144];
    for (int unmap = 0; unmap < 2; unmap++) {
        make_image(sizeof buf);
        struct block *b = open_image(false);
        assert_int_equal(block_write_zeroes(b, 512, 200000, unmap), 0);
        assert_int_equal(block_write_zeroes(b, 0, 0, unmap), 0);
        assert_int_equal(read_at(b, 0, buf, sizeof buf), 0);
        for (size_t i = 0; i < sizeof buf; i++)
            if (buf[i] != (i >= 512 && i < 200512 ? 0 : i % 251))
                fail_msg("byte %zu is %u", i, buf[i]);
        int rc = block_discard(b, 0, 65536);
        assert_true(rc == 0 || rc == -ENOTSUP);
        block_free(b);
        assert_int_equal(image_size(), sizeof buf);
    }
}

/* Else the next start would take it for an image whose backing file the guest has chosen. */
static void a_probed_disk_does_not_become_an_image(void **state)
{
    (void)state;
    uint8_t sector[1024] = "QFI\xfb";
    make_image(4096);
    struct block *b = open_image(false);
    assert_string_equal(block_format(b), "raw");
    assert_int_equal(write_at(b, 0, sector, 1024), -EPERM);
    assert_int_equal(write_at(b, 0, sector, 4), -EPERM);
    assert_int_equal(write_at(b, 0, sector, 3), 0);
    assert_int_equal(write_at(b, 3, sector + 3, 1), -EPERM);
    struct iovec parts[3] = {{sector, 1}, {sector + 1, 0}, {sector + 1, 600}};
    assert_int_equal(block_writev(b, 0, parts, 3), -EPERM);
    assert_int_equal(write_at(b, 512, sector, 512), 0);
    sector[3] = 'x';
    assert_int_equal(write_at(b, 0, sector, 1024), 0);
    block_free(b);
    struct error err = {0};
    b = block_open(path, &(struct block_options){.format = "raw"}, &err);
    sector[3] = 0xfb;
    assert_int_equal(write_at(b, 0, sector, 1024), 0);
    block_free(b);
    assert_refused(path, false, ENOTSUP, "is of version 0 of qcow2");
}

static void not_called(struct block_request *r, int rc)
{
    fail_msg("%d came back from a request that was not submitted: %d", r->op, rc);
}

/* What the host has in memory is read at once; whatever is not a whole read is for the queue. */
static void reads_of_the_host_s_cache_are_done_at_once(void **state)
{
    (void)state;
    uint8_t buf[1024];
    struct iovec iov[] = {{buf + 512, 512}, {buf, 512}};
    struct block_request r = {
        .op = BLOCK_READ, .iov = iov, .iov_count = 2, .offset = 1024, .done = not_called};
    make_image(4096);
    struct block *b = open_image(false);
    assert_int_equal(read_at(b, 0, buf, 512), 0);
    struct block_queue *q = block_queue_new(b, true, NULL);
    assert_non_null(q);
    bool done = block_queue_try(q, &r);
    if (!done)
        skip(); /* the host's file system cannot say */
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(buf[512 + i], (1024 + i) % 251);
        assert_int_equal(buf[i], (1536 + i) % 251);
    }
    r.offset = 3584; /* beyond the end */
    assert_false(block_queue_try(q, &r));
    r.offset = 0;
    r.op = BLOCK_WRITE;
    assert_false(block_queue_try(q, &r));
    r.op = BLOCK_FLUSH;
    assert_false(block_queue_try(q, &r));
    block_queue_free(q);
    block_free(b);
}

static void an_unknown_format_is_refused(void **state)
{
    (void)state;
    struct error err = {0};
    make_image(4096);
    assert_null(block_open(path, &(struct block_options){.format = "vmdk"}, &err));
    assert_int_equal(err.code, EINVAL);
    assert_non_null(strstr(err.msg, "no disk format 'vmdk'"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unusable_files_are_refused_with_a_sentence),
        T(a_file_without_write_permission_can_be_read),
        T(what_is_written_is_read_across_many_vectors),
        T(requests_beyond_the_end_are_refused),
        T(a_readonly_disk_does_not_change),
        T(the_last_sector_is_filled_up),
        T(a_file_that_was_cut_is_an_io_error),
        T(one_writer_or_many_readers),
        T(zeroes_are_written_with_and_without_unmap),
        T(a_probed_disk_does_not_become_an_image),
        T(reads_of_the_host_s_cache_are_done_at_once),
        T(an_unknown_format_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
