#include "rig_devices.h"

#include "base/bits.h"

#include <stdio.h>

void rig_devices_save(struct addrspace *as, struct device *const *all, struct state_out *out)
{
    addrspace_save(as, out);
    for (unsigned i = 0; all[i]; i++)
        device_save(all[i], out);
}

bool rig_devices_load(struct addrspace *as, struct device *const *all, struct state_in *in)
{
    struct error err = {0};
    int rc = addrspace_load_state(as, in, &err);
    for (unsigned i = 0; !rc && all[i]; i++)
        rc = device_load(all[i], in, &err);
    if (rc)
        fprintf(stderr, "load: %s\n", err.msg);
    return !rc && in->pos == in->len;
}

bool rig_devices_equal(struct addrspace *a, struct device *const *all_a, struct addrspace *b,
                       struct device *const *all_b)
{
    char buf[256];
    for (unsigned i = 0; all_a[i]; i++)
        if (!state_equal(all_a[i]->ops->state, all_a[i], all_b[i], buf, sizeof buf)) {
            fprintf(stderr, "%s: %s\n", all_a[i]->id, buf);
            return false;
        }
    if (addrspace_hash(a, 0) == addrspace_hash(b, 0))
        return true;
    fprintf(stderr, "memory differs\n");
    return false;
}

void rig_put_desc(struct addrspace *as, gpa_t at, gpa_t addr, uint64_t len, uint64_t flags,
                  uint64_t next)
{
    uint8_t raw[16];
    le64_put(raw, addr);
    le32_put(raw + 8, (uint32_t)len);
    le16_put(raw + 12, (uint16_t)flags);
    le16_put(raw + 14, (uint16_t)next);
    addrspace_copy_in(as, at, raw, sizeof raw);
}
