/*
 * The device tree. Its seed of the guest's random numbers is fresh at every start, fixed in a
 * deterministic machine; /chosen/rng-seed is a binding of the devicetree specification's schema.
 * What is there for PCI and for the advanced interrupt architecture, after the bindings
 * host-generic-pci, riscv,imsics and riscv,aplic.
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

static struct virt_config usual(void)
{
    return (struct virt_config){.cpus = 1,
                                .memory = UINT64_C(16) << 20,
                                .address_bits = 39,
                                .firmware = firmware,
                                .console = console};
}

static struct machine *start(bool deterministic)
{
    struct error err = {0};
    struct virt_config config = usual();
    config.deterministic = deterministic;
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

/* ---- PCI and AIA ---- */

static const void *tree(struct machine *m)
{
    size_t size;
    const void *fdt = virt_device_tree(m, &size);
    assert_int_equal(fdt_check_full(fdt, size), 0);
    return fdt;
}

/* Word i of a property of node `path`; fails if it is not there. */
static uint32_t cell(const void *fdt, const char *path, const char *name, unsigned i)
{
    int len;
    const fdt32_t *p = fdt_getprop(fdt, fdt_path_offset(fdt, path), name, &len);
    if (!p || len < (int)(4 * i + 4))
        fail_msg("%s has no word %u of %s", path, i, name);
    return fdt32_to_cpu(p[i]);
}

static unsigned cells(const void *fdt, const char *path, const char *name)
{
    int len;
    assert_non_null(fdt_getprop(fdt, fdt_path_offset(fdt, path), name, &len));
    return (unsigned)len / 4;
}

static bool has(const void *fdt, const char *path)
{
    return fdt_path_offset(fdt, path) >= 0;
}

/* Each entry leads to a source, in the order of slots and pins; `words` of them are the source's.
 */
static void check_pci(const void *fdt, const char *controller, unsigned words)
{
    static const char path[] = "/soc/pci@30000000";
    unsigned size = 5 + words;
    assert_int_equal(cell(fdt, path, "reg", 1), 0x30000000);
    assert_int_equal(cell(fdt, path, "reg", 3), 0x10000000);
    assert_int_equal(cells(fdt, path, "ranges"), 21);
    assert_int_equal(cell(fdt, path, "ranges", 0), 0x01000000);
    assert_int_equal(cell(fdt, path, "ranges", 4), 0x03000000);
    assert_int_equal(cell(fdt, path, "ranges", 7), 0x02000000);
    assert_int_equal(cell(fdt, path, "ranges", 11), 0x40000000);
    assert_int_equal(cell(fdt, path, "ranges", 14), 0x03000000);
    assert_int_equal(cell(fdt, path, "ranges", 17), 4); /* 16 GiB, behind RAM */
    assert_int_equal(cell(fdt, path, "ranges", 18), 0);
    assert_int_equal(cell(fdt, path, "interrupt-map-mask", 0), 0x1800);
    assert_int_equal(cells(fdt, path, "interrupt-map"), 16 * size);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(cell(fdt, path, "interrupt-map", size * i), i / 4 << 11);
        assert_int_equal(cell(fdt, path, "interrupt-map", size * i + 3), i % 4 + 1);
        assert_int_equal(cell(fdt, path, "interrupt-map", size * i + 4),
                         cell(fdt, controller, "phandle", 0));
        assert_int_equal(cell(fdt, path, "interrupt-map", size * i + 5), 32 + (i / 4 + i) % 4);
    }
}

/* Two banks if any is given, after the binding cfi-flash; what has no file is zeroes. */
static void test_flash(void **state)
{
    (void)state;
    struct error err = {0};
    struct block *none[] = {NULL};
    struct virt_config config = usual();
    struct machine *m = start(true);
    assert_false(has(tree(m), "/flash@20000000"));
    m->ops->free(m);
    config.flash = none;
    config.flash_count = 1;
    m = virt_new(&config, &err);
    assert_non_null(m);
    for (unsigned bank = 0; bank < 2; bank++) {
        assert_int_equal(cell(tree(m), "/flash@20000000", "reg", 4 * bank + 1),
                         0x20000000 + bank * VIRT_FLASH_SIZE);
        assert_int_equal(cell(tree(m), "/flash@20000000", "reg", 4 * bank + 3), VIRT_FLASH_SIZE);
        uint64_t value;
        assert_true(addrspace_read(m->mem, 0x20000000 + bank * VIRT_FLASH_SIZE, 8, &value));
        assert_true(!value);
    }
    assert_int_equal(cell(tree(m), "/flash@20000000", "bank-width", 0), 4);
    m->ops->free(m);
    config.flash_count = 3;
    assert_null(virt_new(&config, &err));
}

static void test_pci(void **state)
{
    struct virt_config config = usual();
    struct error err = {0};
    (void)state;
    struct machine *m = virt_new(&config, &err);
    assert_false(has(tree(m), "/soc/pci@30000000"));
    m->ops->free(m);
    config.pci = true;
    m = virt_new(&config, &err);
    check_pci(tree(m), "/soc/plic@c000000", 1);
    assert_true(fdt_path_offset(tree(m), "/soc/virtio_mmio@10008000") >= 0); /* empty */
    m->ops->free(m);
}

static void test_aia(void **state)
{
    static const char aplic_m[] = "/soc/aplic@c000000", aplic_s[] = "/soc/aplic@d000000";
    static const char imsic_m[] = "/soc/imsics@24000000", imsic_s[] = "/soc/imsics@28000000";
    struct virt_config config = usual();
    struct error err = {0};
    (void)state;
    config.pci = config.aia = true;
    config.cpus = 3;
    struct machine *m = virt_new(&config, &err);
    const void *fdt = tree(m);
    check_pci(fdt, aplic_s, 2);
    assert_false(has(fdt, "/soc/plic@c000000"));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(cell(fdt, imsic_m, "interrupts-extended", 2 * i + 1), 11);
        assert_int_equal(cell(fdt, imsic_s, "interrupts-extended", 2 * i + 1), 9);
    }
    assert_int_equal(cells(fdt, imsic_s, "interrupts-extended"), 6);
    assert_int_equal(cell(fdt, imsic_s, "reg", 3), 0x4000); /* a power of two of pages */
    assert_int_equal(cell(fdt, imsic_s, "riscv,num-ids", 0), 255);
    uint32_t files = cell(fdt, imsic_s, "phandle", 0), child = cell(fdt, aplic_s, "phandle", 0);
    assert_int_equal(cell(fdt, aplic_s, "msi-parent", 0), files);
    assert_int_equal(cell(fdt, "/soc/pci@30000000", "msi-parent", 0), files);
    assert_int_equal(cell(fdt, aplic_m, "msi-parent", 0), cell(fdt, imsic_m, "phandle", 0));
    assert_int_equal(cell(fdt, aplic_m, "riscv,children", 0), child);
    assert_int_equal(cell(fdt, aplic_m, "riscv,delegation", 0), child);
    assert_int_equal(cell(fdt, aplic_m, "riscv,delegation", 2),
                     cell(fdt, aplic_s, "riscv,num-sources", 0));
    assert_int_equal(cell(fdt, "/soc/serial@10000000", "interrupt-parent", 0), child);
    assert_int_equal(cell(fdt, "/soc/serial@10000000", "interrupts", 1), 4);
    int extensions = fdt_path_offset(fdt, "/cpus/cpu@0");
    assert_true(fdt_stringlist_search(fdt, extensions, "riscv,isa-extensions", "smaia") >= 0);
    assert_true(fdt_stringlist_search(fdt, extensions, "riscv,isa-extensions", "ssaia") >= 0);
    m->ops->free(m);
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
        cmocka_unit_test(test_fresh), cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_pci),   cmocka_unit_test(test_flash),
        cmocka_unit_test(test_aia),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
