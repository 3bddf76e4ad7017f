/*
 * The device tree's seed of the guest's random numbers: fresh at every start, fixed in a
 * deterministic machine. /chosen/rng-seed is a binding of the devicetree specification's schema.
 */
#include "machine/virt.h"

#include "base/loop.h"

#include <fcntl.h>
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEED = 48 };

static char firmware[] = "/tmp/guise-fdt-XXXXXX";
static struct loop *loop;
static struct chr *console;

static struct machine *start(bool deterministic)
{
    struct error err = {0};
    const struct virt_config config = {.cpus = 1,
                                       .memory = UINT64_C(16) << 20,
                                       .address_bits = 39,
                                       .deterministic = deterministic,
                                       .firmware = firmware,
                                       .console = console};
    struct machine *m = virt_new(&config, &err);
    assert_non_null(m);
    assert_int_equal(m->ops->reset(m, &err), 0);
    return m;
}

static void get_seed(struct machine *m, uint8_t seed[SEED])
{
    size_t size;
    int len;
    const void *fdt = virt_device_tree(m, &size);
    assert_int_equal(fdt_check_full(fdt, size), 0);
    const void *found = fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", &len);
    assert_non_null(found);
    assert_int_equal(len, SEED);
    memcpy(seed, found, SEED);
}

static void test_fresh(void **state)
{
    struct error err = {0};
    uint8_t a[SEED], b[SEED], c[SEED];
    (void)state;
    struct machine *m = start(false);
    get_seed(m, a);
    assert_int_equal(m->ops->reset(m, &err), 0);
    get_seed(m, b);
    m->ops->free(m);
    m = start(false);
    get_seed(m, c);
    m->ops->free(m);
    assert_memory_not_equal(a, b, SEED);
    assert_memory_not_equal(a, c, SEED);
    assert_memory_not_equal(b, c, SEED);
}

static void test_deterministic(void **state)
{
    uint8_t a[SEED], b[SEED];
    (void)state;
    struct machine *m = start(true);
    get_seed(m, a);
    m->ops->free(m);
    m = start(true);
    get_seed(m, b);
    m->ops->free(m);
    assert_memory_equal(a, b, SEED);
}

static int setup(void **state)
{
    static const uint32_t self_jump = 0x0000006f;
    struct error err = {0};
    (void)state;
    int fd = mkstemp(firmware);
    if (fd < 0 || write(fd, &self_jump, sizeof self_jump) != sizeof self_jump)
        return -1;
    close(fd);
    loop = loop_new(&err);
    console = loop ? chr_open("none", loop, &err) : NULL;
    return console ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    chr_free(console);
    loop_free(loop);
    return unlink(firmware);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_deterministic),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
