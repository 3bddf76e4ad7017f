/*
 * What the board `virt` has in memory when it starts.
 *
 * With firmware, as on QEMU's board: the reset vector in ROM jumps to the firmware at the start of
 * RAM with a0 = hart, a1 = device tree, a2 = struct fw_dynamic_info of OpenSBI, which says where
 * the kernel is, or else the first bank of flash. Without: hart 0 enters that in S-mode (riscv
 * Linux boot protocol: a0 = hart, a1 = device tree, satp = 0), the others wait for SBI hart_start.
 */
#include "machine/virt_internal.h"

#include "base/bits.h"
#include "isa/riscv64/csr.h"

#include <errno.h>
#include <stdio.h>

#define ALIGN_2M (UINT64_C(2) << 20)
#define FDT_LIMIT (VIRT_RAM + (UINT64_C(1) << 30)) /* 32-bit firmware must reach it */

int virt_boot_open(struct virt *virt, struct error *err)
{
    const struct virt_config *c = &virt->config;
    if (!c->kernel && !c->firmware && !c->flash_count)
        return error_set(err, EINVAL,
                         "nothing to boot: give --kernel FILE, --pflash FILE or --firmware FILE");
    if (c->initrd && !c->kernel)
        return error_set(err, EINVAL, "--initrd %s needs --kernel", c->initrd);
    int rc = c->firmware ? image_open(&virt->firmware, c->firmware, IMAGE_FIRMWARE, err) : 0;
    if (!rc && c->kernel)
        rc = image_open(&virt->kernel, c->kernel, c->firmware ? IMAGE_PAYLOAD : IMAGE_KERNEL, err);
    if (!rc && c->initrd)
        rc = image_open(&virt->initrd, c->initrd, IMAGE_INITRD, err);
    return rc;
}

void virt_boot_close(struct virt *virt)
{
    image_close(&virt->firmware);
    image_close(&virt->kernel);
    image_close(&virt->initrd);
}

static int too_small(const struct image *img, const struct virt *virt, struct error *err)
{
    return error_set(err, EINVAL,
                     "%s: %llu bytes do not fit into the machine's memory of %llu MiB beside the "
                     "rest; give it more with --memory",
                     img->path, (unsigned long long)img->memory_size,
                     (unsigned long long)(virt->config.memory >> 20));
}

/*
 * From the top down: device tree, initrd. From the bottom up: firmware, kernel 2 MiB above (or
 * where its header wants it).
 */
int virt_boot_place(struct virt *virt, struct error *err)
{
    struct virt_layout *l = &virt->layout;
    gpa_t top = VIRT_RAM + virt->config.memory, used = VIRT_RAM;
    gpa_t fdt_top = top < FDT_LIMIT ? top : FDT_LIMIT;
    if (virt->fdt_size > virt->config.memory / 2)
        return error_set(err, EINVAL, "%llu bytes of memory do not even hold the device tree",
                         (unsigned long long)virt->config.memory);
    /* 2 MiB steps keep clear of the kernel's superpages; small machines have no room for that. */
    uint64_t step = virt->config.memory >= 16 * ALIGN_2M ? ALIGN_2M : RV_PAGE;
    l->fdt = align_down(fdt_top - virt->fdt_size, step);
    if (virt->firmware.fd >= 0) {
        l->firmware = VIRT_RAM;
        used = image_start(&virt->firmware, l->firmware) + virt->firmware.memory_size;
        if (used > l->fdt)
            return too_small(&virt->firmware, virt, err);
    }
    if (virt->kernel.fd >= 0) {
        uint64_t offset = virt->kernel.kind == IMAGE_LINUX ? virt->kernel.text_offset : ALIGN_2M;
        l->kernel = image_start(&virt->kernel, VIRT_RAM + offset);
        gpa_t end = l->kernel + virt->kernel.memory_size;
        if (l->kernel < used && virt->firmware.fd >= 0)
            return error_set(err, EINVAL, "%s: wants memory that the firmware %s occupies",
                             virt->kernel.path, virt->firmware.path);
        if (end < l->kernel || end > l->fdt)
            return too_small(&virt->kernel, virt, err);
        used = end;
    }
    if (virt->initrd.fd >= 0) {
        if (virt->initrd.file_size > l->fdt - used)
            return too_small(&virt->initrd, virt, err);
        l->initrd = align_down(l->fdt - virt->initrd.file_size, step);
        if (l->initrd < used)
            l->initrd = align_down(l->fdt - virt->initrd.file_size, RV_PAGE);
        if (l->initrd < used)
            return too_small(&virt->initrd, virt, err);
    }
    return 0;
}

/* Where S-mode begins: the kernel, else the first bank of flash; 0: nowhere. */
static gpa_t supervisor_entry(const struct virt *virt)
{
    if (virt->kernel.fd >= 0)
        return image_entry(&virt->kernel, virt->layout.kernel);
    return virt->config.flash_count ? VIRT_FLASH : 0;
}

/* The reset vector and what it loads; see the file comment. */
static int load_rom(struct virt *virt, struct error *err)
{
    struct {
        uint32_t code[6];
        uint64_t start, fdt;
        struct {
            uint64_t magic, version, next_addr, next_mode, options, boot_hart;
        } info;
    } rom = {
        .code =
            {
                0x00000297, /* auipc t0, 0 */
                0x02828613, /* addi  a2, t0, 40: info */
                0xf1402573, /* csrr  a0, mhartid */
                0x0202b583, /* ld    a1, 32(t0): fdt */
                0x0182b283, /* ld    t0, 24(t0): start */
                0x00028067, /* jr    t0 */
            },
        .start = image_entry(&virt->firmware, virt->layout.firmware),
        .fdt = virt->layout.fdt,
        .info = {.magic = 0x4942534f,
                 .version = 2,
                 .next_addr = supervisor_entry(virt),
                 .next_mode = 1},
    };
    _Static_assert(offsetof(__typeof__(rom), start) == 24, "the code's offsets");
    _Static_assert(offsetof(__typeof__(rom), info) == 40, "the code's offsets");
    if (!addrspace_load(virt->m.mem, VIRT_ROM, &rom, sizeof rom))
        return error_set(err, EFAULT, "the boot ROM is missing");
    return 0;
}

/* S-mode as SBI firmware hands it over: everything delegated, everything allowed. */
static void enter_supervisor(struct rv_hart *h, gpa_t entry, gpa_t fdt)
{
    static const struct {
        unsigned csr;
        uint64_t value;
    } setup[] = {
        {0x302, 0xb1ff & ~(UINT64_C(1) << RV_CAUSE_ECALL_S)}, /* medeleg */
        {0x303, UINT64_MAX},                                  /* mideleg */
        {0x306, UINT32_MAX},                                  /* mcounteren */
        {0x30a, UINT64_MAX & ~(UINT64_C(2) << 4)},            /* menvcfg; CBIE: flush */
        {0x3b0, UINT64_MAX},                                  /* pmpaddr0: all memory */
        {0x3a0, 0x1f},                                        /* pmpcfg0: NAPOT, RWX */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(setup); i++)
        rv_csr_poke(h, setup[i].csr, setup[i].value);
    h->priv = RV_PRIV_S;
    h->pc = entry;
    h->x[10] = h->hartid;
    h->x[11] = fdt;
    rv_hart_view_changed(h);
}

int virt_boot_load(struct virt *virt, struct error *err)
{
    struct addrspace *mem = virt->m.mem;
    const struct virt_layout *l = &virt->layout;
    /* A new seed for every start. */
    int rc = virt_fdt_build(virt, err);
    if (!rc && virt->firmware.fd >= 0)
        rc = image_load(&virt->firmware, mem, l->firmware, err);
    if (!rc && virt->kernel.fd >= 0)
        rc = image_load(&virt->kernel, mem, l->kernel, err);
    if (!rc && virt->initrd.fd >= 0)
        rc = image_load(&virt->initrd, mem, l->initrd, err);
    if (!rc && !addrspace_load(mem, l->fdt, virt->fdt, virt->fdt_size))
        rc = error_set(err, EINVAL, "the device tree does not fit into memory");
    if (!rc && !virt->has_sbi)
        rc = load_rom(virt, err);
    for (unsigned i = 0; !rc && i < virt->config.cpus; i++) {
        struct rv_hart *h = &virt->harts[i].hart;
        rv_hart_reset(h, VIRT_ROM);
        if (virt->has_sbi)
            enter_supervisor(h, supervisor_entry(virt), l->fdt);
    }
    return rc;
}
