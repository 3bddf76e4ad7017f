/*
 * Saved state as a file: a header that says what machine it belongs to, then clock, processors,
 * devices and memory as declared tables, then a checksum over all of it.
 */
#include "vmm/vm_internal.h"

#include "base/bits.h"
#include "base/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct header {
    uint64_t memory;
    uint32_t cpus;
    uint8_t firmware; /* real firmware, not SBI by guise */
    uint8_t deterministic;
    uint8_t pci;
    uint8_t aia;
    uint8_t flash; /* there is any */
};

static const struct state_field header_fields[] = {
    STATE_FIELD(struct header, memory),
    STATE_FIELD(struct header, cpus),
    STATE_FIELD(struct header, firmware),
    STATE_FIELD(struct header, deterministic),
    STATE_FIELD_SINCE(struct header, pci, 2),
    STATE_FIELD_SINCE(struct header, flash, 3),
    STATE_END,
};

static const struct state_table header_state = {
    .name = "guise-machine-virt",
    .version = 3,
    .size = sizeof(struct header),
    .fields = header_fields,
};

static const struct state_field vcpu_fields[] = {
    STATE_FIELD(struct vcpu, waiting),
    STATE_END,
};

static const struct state_table vcpu_state = {
    .name = "vcpu",
    .version = 1,
    .size = sizeof(struct vcpu),
    .fields = vcpu_fields,
};

static struct header vm_header(const struct vm *vm)
{
    return (struct header){
        .memory = vm->config.memory,
        .cpus = vm->config.cpus,
        .firmware = vm->config.firmware != NULL,
        .deterministic = vm->config.deterministic,
        .pci = vm->config.pci,
        .aia = vm->config.aia,
        .flash = vm->config.flash_count > 0,
    };
}

/* Requests are state in flight: carried out first, so that they need not be saved. */
static void vm_settle(struct vm *vm)
{
    struct machine *m = vm->machine;
    vm_drain(vm); /* a disk raises lines of devices that are saved before it */
    for (unsigned i = 0; i < m->vcpu_count; i++)
        m->ops->requests(m, &m->vcpus[i], vcpu_take_requests(&m->vcpus[i]));
}

/* What does not depend on the board's processors. */
static void save_around(struct vm *vm, struct state_out *out)
{
    struct machine *m = vm->machine;
    struct header header = vm_header(vm);
    vm_settle(vm);
    state_save(out, &header_state, &header);
    state_save(out, &clock_state, &m->clock);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        state_save(out, &vcpu_state, &m->vcpus[i]);
    for (unsigned i = 0; i < m->device_count; i++)
        device_save(m->devices[i], out);
}

void vm_state_save(struct vm *vm, struct state_out *out)
{
    save_around(vm, out);
    vm->machine->ops->save(vm->machine, out); /* harts' deadlines depend on the timer device */
}

/* The file has another name until it is complete. */
static int save_name(const char *path, char *temp, size_t size)
{
    return (size_t)snprintf(temp, size, "%s.tmp%d", path, (int)getpid()) < size ? 0 : -ENAMETOOLONG;
}

int vm_save_begin(const char *path)
{
    char temp[4096];
    int rc = save_name(path, temp, sizeof temp);
    int fd = rc ? -1 : open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? (rc ? rc : -errno) : fd;
}

int vm_save_end(const char *path, bool complete)
{
    char temp[4096];
    int rc = save_name(path, temp, sizeof temp);
    if (!rc && complete && rename(temp, path))
        rc = -errno;
    if (!complete || rc)
        unlink(temp);
    return rc;
}

/* 0 or an errno. */
static int write_all(int fd, const struct state_out *out)
{
    int code = 0;
    for (size_t done = 0; done < out->len && !code;) {
        ssize_t n = write(fd, out->data + done, out->len - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            code = errno;
    }
    if (!code && fsync(fd))
        code = errno;
    if (close(fd) && !code)
        code = errno;
    return code;
}

static int write_file(struct vm *vm, const char *path, const struct state_out *out,
                      struct error *err)
{
    int fd = vm_confined_save_begin(vm, path);
    if (fd < 0)
        return error_set(err, -fd, "%s: cannot be created: %s", path, strerror(-fd));
    int code = write_all(fd, out);
    int rc = vm_confined_save_end(vm, path, !code);
    code = code ? code : -rc;
    return code ? error_set(err, code, "%s: cannot be written: %s", path, strerror(code)) : 0;
}

int vm_save(struct vm *vm, const char *path, struct error *err)
{
    if (vm->config.share_count)
        return error_set(err, ENOTSUP,
                         "a machine with a shared folder (%s) cannot be saved: what it has open "
                         "there belongs to another process",
                         share_path(vm->shares[0]));
    struct state_out out = {0};
    vm_state_save(vm, &out);
    addrspace_save(vm->machine->mem, &out);
    uint8_t sum[8];
    le64_put(sum, out.failed ? 0 : XXH3_64bits(out.data, out.len));
    state_save_bytes(&out, "checksum", sum, sizeof sum);
    int rc = out.failed ? error_set(err, ENOMEM, "out of memory for the machine's state")
                        : write_file(vm, path, &out, err);
    state_out_free(&out);
    return rc;
}

static int load_header(const struct vm *vm, struct state_in *in, struct error *err)
{
    struct header got = {0}, want = vm_header(vm);
    char difference[128];
    int rc = state_load(in, &header_state, &got, err);
    if (!rc && !state_equal(&header_state, &got, &want, difference, sizeof difference))
        rc =
            error_set(err, EINVAL, "the state is of another machine than this one: %s", difference);
    return rc;
}

int vm_state_load(struct vm *vm, struct state_in *in, struct error *err)
{
    struct machine *m = vm->machine;
    int rc = load_header(vm, in, err);
    if (!rc)
        rc = state_load(in, &clock_state, &m->clock, err);
    for (unsigned i = 0; !rc && i < m->vcpu_count; i++)
        rc = state_load(in, &vcpu_state, &m->vcpus[i], err);
    for (unsigned i = 0; !rc && i < m->device_count; i++)
        rc = device_load(m->devices[i], in, err);
    if (!rc)
        rc = m->ops->load(m, in, err);
    return rc;
}

int vm_memory_load(struct vm *vm, struct state_in *in, struct error *err)
{
    struct machine *m = vm->machine;
    int rc = addrspace_load_state(m->mem, in, err);
    for (unsigned i = 0; !rc && i < m->vcpu_count; i++)
        rc = vm->engine->loaded(&m->vcpus[i], err);
    return rc;
}

/* Bytes of the checksum's own record: name with its length, size, value. */
#define CHECKSUM_RECORD (1 + 8 + 4 + 8)

static int check_sum(const uint8_t *data, size_t len, struct error *err)
{
    if (len < CHECKSUM_RECORD)
        return error_set(err, EINVAL, "is too short to be a saved machine");
    size_t body = len - CHECKSUM_RECORD;
    struct state_in in = {.data = data, .len = len, .pos = body};
    const uint8_t *sum;
    size_t sum_len;
    if (state_load_bytes(&in, "checksum", &sum, &sum_len, err) || sum_len != 8 ||
        le64_get(sum) != XXH3_64bits(data, body))
        return error_set(err, EINVAL, "is damaged or not a saved machine (checksum)");
    return 0;
}

int vm_load(struct vm *vm, const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "%s: cannot be opened: %s", path, strerror(code));
    }
    void *data = S_ISREG(st.st_mode) && st.st_size
                     ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                     : MAP_FAILED;
    close(fd);
    if (data == MAP_FAILED)
        return error_set(err, EINVAL, "%s: is not a file with a saved machine", path);
    struct state_in in = {.data = data, .len = (size_t)st.st_size};
    int rc = check_sum(data, in.len, err);
    if (!rc)
        rc = vm_state_load(vm, &in, err);
    if (!rc)
        rc = vm_memory_load(vm, &in, err);
    munmap(data, (size_t)st.st_size);
    return rc ? error_prefix(err, "%s", path) : 0;
}

uint64_t vm_hash(struct vm *vm)
{
    struct state_out out = {0};
    save_around(vm, &out);
    vm->machine->ops->save_visible(vm->machine, &out);
    uint64_t hash = XXH3_64bits(out.data, out.len);
    state_out_free(&out);
    return addrspace_hash(vm->machine->mem, hash);
}
