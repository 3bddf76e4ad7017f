#include "machine/virt_internal.h"

#include "base/bits.h"
#include "dev/aclint.h"
#include "dev/goldfish_rtc.h"
#include "dev/ns16550.h"
#include "dev/pflash.h"
#include "dev/sifive_test.h"
#include "dev/virtio/virtio_input.h"
#include "dev/virtio/virtio_net.h"
#include "isa/riscv64/compare.h"
#include "isa/riscv64/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The date of a deterministic machine's power-on: 2025-01-01. */
#define FIXED_EPOCH_NS (UINT64_C(1735689600) * 1000000000)

static struct virt *virt_of(struct machine *m)
{
    return container_of(m, struct virt, m);
}

/* ---- time ---- */

/* mtime is the clock plus what the guest's firmware has written to it. */
static uint64_t virt_time_offset(struct machine *m)
{
    struct device *aclint = virt_of(m)->aclint;
    return aclint ? aclint_offset(aclint) : 0;
}

static uint64_t hart_time(void *ctx)
{
    const struct vcpu *v = ctx;
    const struct virt_hart *vh = container_of(v->arch, struct virt_hart, hart);
    return clock_ns(v->clock) / VIRT_NS_PER_TICK + virt_time_offset(vh->machine);
}

void virt_time_moved(void *ctx)
{
    struct machine *m = ctx;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        vcpu_request(&m->vcpus[i], VCPU_REQ_TIME);
}

static void hart_timer_fired(void *ctx)
{
    struct virt_hart *vh = ctx;
    pthread_mutex_lock(&vh->timer_lock);
    /* The hart may have set another time since the clock decided to call. */
    if (vh->deadline <= clock_ns(&vh->machine->clock))
        vcpu_irq_set(vh->vcpu, RV_IRQ_STI, true);
    pthread_mutex_unlock(&vh->timer_lock);
}

/* Sstc: STIP is time >= stimecmp while menvcfg.STCE is set. */
static void hart_stimecmp_changed(struct rv_hart *h)
{
    struct virt_hart *vh = container_of(h, struct virt_hart, hart);
    struct clock *clock = &vh->machine->clock;
    bool on = h->menvcfg & RV_ENVCFG_STCE;
    uint64_t offset = virt_time_offset(vh->machine);
    uint64_t tick = h->stimecmp > offset ? h->stimecmp - offset : 0;
    uint64_t deadline =
        !on || tick > (CLOCK_NEVER - 1) / VIRT_NS_PER_TICK ? CLOCK_NEVER : tick * VIRT_NS_PER_TICK;
    pthread_mutex_lock(&vh->timer_lock);
    bool due = deadline <= clock_ns(clock);
    vh->deadline = deadline;
    vcpu_irq_set(vh->vcpu, RV_IRQ_STI, due);
    clock_timer_set(clock, &vh->timer, due ? CLOCK_NEVER : deadline);
    pthread_mutex_unlock(&vh->timer_lock);
}

/* ---- machine_ops ---- */

static int virt_reset(struct machine *m, struct error *err)
{
    struct virt *virt = virt_of(m);
    for (unsigned i = 0; i < m->device_count; i++)
        device_reset(m->devices[i]);
    int rc = virt_boot_load(virt, err);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        m->vcpus[i].waiting = false;
        vcpu_take_requests(&m->vcpus[i]);
        hart_stimecmp_changed(&virt->harts[i].hart);
    }
    if (virt->has_sbi)
        sbi_reset(&virt->sbi, 0);
    return rc;
}

static void virt_call(struct machine *m, struct vcpu *v)
{
    sbi_call(&virt_of(m)->sbi, v);
}

static void virt_requests(struct machine *m, struct vcpu *v, uint32_t bits)
{
    struct virt *virt = virt_of(m);
    if (bits & VCPU_REQ_TIME)
        hart_stimecmp_changed(v->arch);
    if (virt->has_sbi)
        sbi_requests(&virt->sbi, v, bits);
}

static bool virt_started(struct machine *m, struct vcpu *v)
{
    struct virt *virt = virt_of(m);
    return !virt->has_sbi || sbi_started(&virt->sbi, v);
}

static bool virt_has_work(struct machine *m, struct vcpu *v)
{
    (void)m;
    return rv_wfi_done(v->arch);
}

static void virt_save(struct machine *m, struct state_out *out)
{
    struct virt *virt = virt_of(m);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        state_save(out, &rv_hart_state, &virt->harts[i].hart);
        if (virt->has_sbi)
            state_save(out, &sbi_hart_state, &virt->sbi.harts[i]);
    }
}

static void virt_save_visible(struct machine *m, struct state_out *out)
{
    struct virt *virt = virt_of(m);
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        rv_hart_save_compared(&virt->harts[i].hart, out);
        if (virt->has_sbi)
            state_save(out, &sbi_hart_state, &virt->sbi.harts[i]);
    }
}

static int virt_load(struct machine *m, struct state_in *in, struct error *err)
{
    struct virt *virt = virt_of(m);
    int rc = 0;
    for (unsigned i = 0; !rc && i < m->vcpu_count; i++) {
        struct rv_hart *h = &virt->harts[i].hart;
        rc = state_load(in, &rv_hart_state, h, err);
        if (!rc && virt->has_sbi)
            rc = state_load(in, &sbi_hart_state, &virt->sbi.harts[i], err);
        if (!rc)
            hart_stimecmp_changed(h);
    }
    return rc;
}

static void virt_free(struct machine *m)
{
    struct virt *virt = virt_of(m);
    for (unsigned i = m->device_count; i-- > 0;)
        device_free(m->devices[i]);
    sbi_fini(&virt->sbi);
    virt_boot_close(virt);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        pthread_mutex_destroy(&virt->harts[i].timer_lock);
    addrspace_free(m->mem);
    clock_fini(&m->clock);
    free(m->vcpus);
    free(virt->harts);
    free(virt->fdt);
    free((char *)(uintptr_t)virt->config.append);
    free(virt);
}

static const struct machine_ops virt_ops = {
    .name = "virt",
    .reset = virt_reset,
    .call = virt_call,
    .requests = virt_requests,
    .started = virt_started,
    .has_work = virt_has_work,
    .save = virt_save,
    .save_visible = virt_save_visible,
    .load = virt_load,
    .free = virt_free,
};

/* ---- construction ---- */

static void virt_power(void *ctx, enum power_event what, unsigned code)
{
    const struct machine *m = ctx;
    static const enum machine_power events[] = {
        [POWER_OFF] = MACHINE_POWER_OFF,
        [POWER_FAIL] = MACHINE_POWER_FAIL,
        [POWER_RESET] = MACHINE_POWER_RESET,
    };
    m->power(m->power_ctx, events[what], code);
}

static int virt_harts(struct virt *virt, struct error *err)
{
    struct machine *m = &virt->m;
    unsigned n = virt->config.cpus;
    virt->harts = calloc(n, sizeof *virt->harts);
    m->vcpus = calloc(n, sizeof *m->vcpus);
    if (!virt->harts || !m->vcpus)
        return error_set(err, ENOMEM, "out of memory for %u harts", n);
    m->vcpu_count = n;
    static const char letters[] = "imafdcsu";
    uint64_t misa = UINT64_C(2) << 62;
    for (unsigned i = 0; letters[i]; i++)
        misa |= UINT64_C(1) << (letters[i] - 'a');
    for (unsigned i = 0; i < n; i++) {
        struct virt_hart *vh = &virt->harts[i];
        struct vcpu *v = &m->vcpus[i];
        vcpu_init(v, i, m->mem, &m->clock);
        v->arch = &vh->hart;
        vh->vcpu = v;
        vh->machine = m;
        clock_timer_init(&vh->timer, hart_timer_fired, vh);
        pthread_mutex_init(&vh->timer_lock, NULL);
        vh->deadline = CLOCK_NEVER;
        vh->hart.hartid = i;
        vh->hart.misa = misa;
        vh->hart.exts = rv_exts_closure(RV_EXTS_DEFAULT);
        vh->hart.satp_max = (uint8_t)(RV_SATP_SV39 + (virt->config.address_bits - 39) / 9);
        vh->hart.sbi = virt->has_sbi;
        vh->hart.irq_lines = &v->irq_lines;
        vh->hart.env = (struct rv_hart_env){
            .time = hart_time, .stimecmp_changed = hart_stimecmp_changed, .ctx = v};
    }
    return 0;
}

int virt_add(struct virt *virt, struct device *dev, gpa_t base, uint64_t size,
             const struct mmio_ops *ops, struct error *err)
{
    struct machine *m = &virt->m;
    if (!dev)
        return -err->code;
    m->devices[m->device_count++] = dev;
    return size ? addrspace_add_mmio(m->mem, base, size, ops, dev, err) : 0;
}

static uint64_t now_epoch_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Both banks or none. */
static int virt_flash(struct virt *virt, struct error *err)
{
    const struct virt_config *c = &virt->config;
    int rc = 0;
    for (unsigned i = 0; !rc && c->flash_count && i < VIRT_FLASH_BANKS; i++) {
        char id[] = {'f', 'l', 'a', 's', 'h', (char)('0' + i), 0};
        struct device *bank =
            pflash_new(virt->m.mem, VIRT_FLASH + i * VIRT_FLASH_SIZE, VIRT_FLASH_SIZE, id,
                       i < c->flash_count ? c->flash[i] : NULL, err);
        rc = virt_add(virt, bank, 0, 0, NULL, err);
    }
    return rc;
}

static int virt_devices(struct virt *virt, struct error *err)
{
    const struct virt_config *c = &virt->config;
    int rc = virt_irqchips(virt, err);
    if (!rc)
        rc = virt_add(virt, sifive_test_new(virt_power, &virt->m, err), VIRT_TEST, SIFIVE_TEST_SIZE,
                      &sifive_test_mmio, err);
    uint64_t epoch = c->deterministic ? FIXED_EPOCH_NS : now_epoch_ns();
    if (!rc)
        rc = virt_add(virt,
                      goldfish_rtc_new(&virt->m.clock, epoch, virt_irq(virt, VIRT_IRQ_RTC), err),
                      VIRT_RTC, GOLDFISH_RTC_SIZE, &goldfish_rtc_mmio, err);
    if (!rc)
        rc = virt_add(virt, ns16550_new(c->console, virt_irq(virt, VIRT_IRQ_UART), err), VIRT_UART,
                      NS16550_SIZE, &ns16550_mmio, err);
    if (!rc)
        rc = virt_flash(virt, err);
    return rc ? rc : virt_virtio(virt, err);
}

static int virt_memory(struct virt *virt, struct error *err)
{
    uint64_t size = virt->config.memory;
    virt->m.mem = addrspace_new(err);
    if (!virt->m.mem)
        return -ENOMEM;
    int rc = addrspace_add_ram(virt->m.mem, VIRT_RAM, size, err);
    if (!rc && !virt->has_sbi)
        rc = addrspace_add_rom(virt->m.mem, VIRT_ROM, VIRT_ROM_SIZE, err);
    return rc;
}

static int virt_check(const struct virt_config *c, struct error *err)
{
    if (c->cpus < 1 || c->cpus > VIRT_MAX_CPUS)
        return error_set(err, EINVAL, "%u cpus: the machine takes 1 to %u", c->cpus, VIRT_MAX_CPUS);
    if (c->memory < VIRT_MIN_MEMORY || c->memory % RV_PAGE)
        return error_set(err, EINVAL,
                         "memory of %llu bytes: give at least 2M, in whole pages of 4K",
                         (unsigned long long)c->memory);
    bool vsock = c->vsock != NULL, ports = c->port_count != 0;
    if (c->disk_count + c->net_count + c->share_count + vsock + ports > VIRT_VIRTIO_SLOTS - 1)
        return error_set(err, EINVAL,
                         "%u disks, %u networks, %u shared folders, %u socket devices and %u "
                         "devices with ports: the machine takes up to %u",
                         c->disk_count, c->net_count, c->share_count, vsock, ports,
                         VIRT_VIRTIO_SLOTS - 1);
    if (c->flash_count > VIRT_FLASH_BANKS)
        return error_set(err, EINVAL, "%u banks of flash: the machine takes up to %u",
                         c->flash_count, VIRT_FLASH_BANKS);
    if (c->address_bits != 39 && c->address_bits != 48 && c->address_bits != 57)
        return error_set(err, EINVAL, "virtual addresses of %u bits: give 39, 48 or 57",
                         c->address_bits);
    return 0;
}

static int virt_build(struct virt *virt, struct error *err)
{
    int rc = virt_boot_open(virt, err);
    if (!rc)
        rc = virt_memory(virt, err);
    if (!rc)
        rc = virt_harts(virt, err);
    if (!rc)
        rc = virt_devices(virt, err);
    if (!rc && virt->has_sbi)
        rc = sbi_init(&virt->sbi, &virt->m, virt->config.console, err);
    /* Twice: the addresses in the tree depend on its size, which does not depend on them. */
    if (!rc)
        rc = virt_fdt_build(virt, err);
    if (!rc)
        rc = virt_boot_place(virt, err);
    if (!rc)
        rc = virt_fdt_build(virt, err);
    return rc;
}

struct machine *virt_new(const struct virt_config *config, struct error *err)
{
    if (virt_check(config, err))
        return NULL;
    struct virt *virt = calloc(1, sizeof *virt);
    if (!virt) {
        error_set(err, ENOMEM, "out of memory for a machine");
        return NULL;
    }
    virt->config = *config;
    virt->config.append = config->append ? strdup(config->append) : NULL;
    virt->firmware.fd = virt->kernel.fd = virt->initrd.fd = -1;
    virt->has_sbi = !config->firmware;
    virt->m.ops = &virt_ops;
    clock_init(&virt->m.clock, config->deterministic);
    if (virt_build(virt, err)) {
        virt_free(&virt->m);
        return NULL;
    }
    return &virt->m;
}

void virt_set_link(struct machine *m, unsigned net, bool up)
{
    struct virt *virt = virt_of(m);
    if (net < virt->config.net_count)
        virtio_net_set_link(virt->nics[net], up);
}

bool virt_plugged(struct machine *m, unsigned net)
{
    return virtio_net_plugged(virt_of(m)->nics[net]);
}

void virt_disk_stats(struct machine *m, unsigned disk, struct virtio_blk_stats *out)
{
    virtio_blk_stats(virt_of(m)->disks[disk], out);
}

bool virt_press_power(struct machine *m)
{
    return virtio_input_press(virt_of(m)->button);
}

bool virt_balloon_set(struct machine *m, uint64_t bytes)
{
    struct virt *virt = virt_of(m);
    if (virt->balloon)
        virtio_balloon_set_target(virt->balloon, bytes);
    return virt->balloon;
}

bool virt_balloon_ask(struct machine *m)
{
    struct virt *virt = virt_of(m);
    if (virt->balloon)
        virtio_balloon_ask(virt->balloon);
    return virt->balloon;
}

bool virt_balloon_stats(struct machine *m, struct virtio_balloon_stats *out)
{
    struct virt *virt = virt_of(m);
    if (virt->balloon)
        virtio_balloon_stats(virt->balloon, out);
    return virt->balloon;
}

void virt_announce(struct machine *m)
{
    struct virt *virt = virt_of(m);
    for (unsigned i = 0; i < virt->config.net_count; i++)
        virtio_net_announce(virt->nics[i]);
}

const void *virt_device_tree(struct machine *m, size_t *size)
{
    const struct virt *virt = virt_of(m);
    *size = virt->fdt_size;
    return virt->fdt;
}
