/*
 * ioctl. Numbers are encoded alike on both, and so are the structures, with one exception: the old
 * data of loop devices have device numbers of the size that stat(2) once had.
 */
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/syscall.h>

_Static_assert(sizeof(((struct loop_info *)NULL)->lo_name) == GUEST_LOOP_NAME &&
                   sizeof(((struct loop_info *)NULL)->lo_encrypt_key) == GUEST_LOOP_KEY,
               "arrays of struct loop_info");

static int64_t ioctl_loop_set(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct guest_loop_info g;
    if (!guest_read(&g, a[2], sizeof g))
        return -EFAULT;
    struct loop_info h = {
        .lo_number = g.number,
        .lo_device = g.device,
        .lo_inode = g.inode,
        .lo_rdevice = g.rdevice,
        .lo_offset = g.offset,
        .lo_encrypt_type = g.encrypt_type,
        .lo_encrypt_key_size = g.encrypt_key_size,
        .lo_flags = g.flags,
        .lo_init = {g.init[0], g.init[1]},
    };
    memcpy(h.lo_name, g.name, sizeof h.lo_name);
    memcpy(h.lo_encrypt_key, g.encrypt_key, sizeof h.lo_encrypt_key);
    return thread_host_call(t, SYS_ioctl, a[0], LOOP_SET_STATUS, guest_address(&h), 0, 0, 0);
}

static int64_t ioctl_loop_get(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct loop_info h;
    int64_t rc = thread_host_call(t, SYS_ioctl, a[0], LOOP_GET_STATUS, guest_address(&h), 0, 0, 0);
    if (rc < 0)
        return rc;
    struct guest_loop_info g = {
        .number = h.lo_number,
        .device = (uint32_t)h.lo_device,
        .inode = h.lo_inode,
        .rdevice = (uint32_t)h.lo_rdevice,
        .offset = h.lo_offset,
        .encrypt_type = h.lo_encrypt_type,
        .encrypt_key_size = h.lo_encrypt_key_size,
        .flags = h.lo_flags,
        .init = {h.lo_init[0], h.lo_init[1]},
    };
    memcpy(g.name, h.lo_name, sizeof g.name);
    memcpy(g.encrypt_key, h.lo_encrypt_key, sizeof g.encrypt_key);
    return guest_write(a[2], &g, sizeof g) ? rc : -EFAULT;
}

int64_t sys_ioctl(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    switch ((uint32_t)a[1]) {
    case LOOP_SET_STATUS:
        return ioctl_loop_set(t, a);
    case LOOP_GET_STATUS:
        return ioctl_loop_get(t, a);
    default:
        return syscall_host(t, SYS_ioctl, a);
    }
}
