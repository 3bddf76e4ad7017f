/*
 * Registers of all devices: the input is a list of accesses, anywhere in their regions and of any
 * size, between which guest time passes and the back ends come and go. No access harms; at the end
 * the state can be saved, loaded into fresh devices and compares equal.
 *
 * Each access takes 8 bytes of input: what (size, direction, back ends), where (device, offset in
 * it), value.
 */
#include "base/bits.h"
#include "rig.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 8 };

static const struct {
    gpa_t base;
    uint64_t span; /* where its registers are */
} windows[] = {
    {RIG_POWER, 0x10},        {RIG_RTC, 0x40},
    {RIG_ACLINT, 0x20},       {RIG_ACLINT, 0x10000},
    {RIG_PLIC, 0x200},        {RIG_PLIC + 0x1000, 0x20},
    {RIG_PLIC + 0x2000, 512}, {RIG_PLIC + 0x200000, 0x5000},
    {RIG_PLIC, 0x600000},     {RIG_UART, 0x10},
    {RIG_UART, 0x100},        {RIG_BLK, 0x140},
    {RIG_CONSOLE, 0x140},     {RIG_RNG, 0x140},
    {RIG_EMPTY, 0x140},       {RIG_RO_BLK, 0x1000},
    {RIG_NET, 0x140},         {RIG_BUTTON, 0x140},
    {RIG_FLASH, 0x100},       {RIG_FLASH, RIG_FLASH_SIZE},
};

/* Values spread over 64 bits from 16 of the input. */
static uint64_t widen(uint32_t v)
{
    switch (v >> 14) {
    case 0:
        return v & 0xff;
    case 1:
        return UINT64_C(1) << (v & 63);
    case 2:
        return RIG_RAM + (uint64_t)(v & 0x3fff) * 16;
    default:
        return ~(uint64_t)(v & 0x3fff);
    }
}

static void touch_back_end(struct rig *r, const uint8_t *step)
{
    struct fake_chr *c = step[0] & 0x80 ? &r->uart_chr : &r->console_chr;
    switch (step[0] >> 5 & 3) {
    case 0:
        rig_advance(r, le16_get(step + 4) * UINT64_C(50));
        break;
    case 1:
        fake_chr_input(c, step + 1, 7);
        break;
    case 2:
        c->room = 0;
        break;
    default:
        fake_chr_give_room(c, step[4] & 1 ? SIZE_MAX : step[4]);
        break;
    }
}

static void run_step(struct rig *r, const uint8_t *step)
{
    if ((step[0] & 0x18) == 0x18) {
        touch_back_end(r, step);
        return;
    }
    unsigned width = 1u << (step[0] & 3);
    unsigned w = step[1] % ARRAY_SIZE(windows);
    gpa_t gpa = windows[w].base + (le32_get(step + 2) & 0xffffff) % windows[w].span;
    gpa = align_down(gpa, step[0] & 0x20 ? width : 4);
    gpa = align_down(gpa, width);
    uint64_t value = widen(le16_get(step + 6));
    if (step[0] & 4)
        addrspace_write(r->as, gpa, width, value);
    else
        addrspace_read(r->as, gpa, width, &value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig *r = rig_new();
    for (size_t at = 0; at + STEP <= size; at += STEP)
        run_step(r, data + at);
    struct rig *copy = rig_new();
    if (!rig_copy(r, copy) || !rig_equal(r, copy))
        abort();
    rig_free(copy);
    rig_free(r);
    return 0;
}
