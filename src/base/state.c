#include "base/state.h"

#include "base/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

/* Of tables within tables; a bound for hostile streams and for typing errors. */
#define MAX_DEPTH 8
#define MAX_FIELDS 256 /* of a table */

/* ---- writing ---- */

static void out_bytes(struct state_out *out, const void *data, size_t len)
{
    if (out->failed || !len)
        return;
    if (len > out->cap - out->len) {
        size_t cap = out->cap ? out->cap : 4096;
        while (cap - out->len < len)
            cap *= 2;
        uint8_t *grown = realloc(out->data, cap);
        if (!grown) {
            out->failed = true;
            return;
        }
        out->data = grown;
        out->cap = cap;
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void out_u32(struct state_out *out, uint32_t v)
{
    uint8_t b[4];
    le32_put(b, v);
    out_bytes(out, b, sizeof b);
}

static void out_name(struct state_out *out, const char *name)
{
    uint8_t len = (uint8_t)strlen(name);
    out_bytes(out, &len, 1);
    out_bytes(out, name, len);
}

static const void *field_elem(const struct state_field *f, const void *obj, size_t i)
{
    return (const char *)obj + f->offset + i * f->size;
}

static uint32_t field_count(const struct state_table *t)
{
    uint32_t n = 0;
    while (t->fields[n].name)
        n++;
    return n;
}

void state_save(struct state_out *out, const struct state_table *t, void *obj)
{
    if (t->pre_save)
        t->pre_save(obj);
    out_name(out, t->name);
    out_u32(out, t->version);
    out_u32(out, field_count(t));
    for (const struct state_field *f = t->fields; f->name; f++) {
        out_name(out, f->name);
        out_u32(out, f->sub ? 0 : (uint32_t)f->size);
        out_u32(out, (uint32_t)f->count);
        size_t at = out->len;
        out_u32(out, 0);
        if (f->sub)
            for (size_t i = 0; i < f->count; i++)
                state_save(out, f->sub, (char *)obj + f->offset + i * f->size);
        else
            out_bytes(out, field_elem(f, obj, 0), f->size * f->count);
        if (!out->failed)
            le32_put(out->data + at, (uint32_t)(out->len - at - 4));
    }
}

void state_save_bytes(struct state_out *out, const char *name, const void *data, size_t len)
{
    out_name(out, name);
    out_u32(out, (uint32_t)len);
    out_bytes(out, data, len);
}

void state_out_free(struct state_out *out)
{
    free(out->data);
    *out = (struct state_out){0};
}

/* ---- reading ---- */

static const uint8_t *in_bytes(struct state_in *in, size_t len)
{
    if (len > in->len - in->pos)
        return NULL;
    const uint8_t *p = in->data + in->pos;
    in->pos += len;
    return p;
}

static bool in_u32(struct state_in *in, uint32_t *v)
{
    const uint8_t *p = in_bytes(in, 4);
    if (p)
        *v = le32_get(p);
    return p;
}

/*
 * Names are printable. What is not becomes '?', so that no name of ours is met by it and an error
 * that shows it stays one line.
 */
static bool in_name(struct state_in *in, char name[256])
{
    const uint8_t *len = in_bytes(in, 1);
    const uint8_t *p = len ? in_bytes(in, *len) : NULL;
    if (!p)
        return false;
    for (unsigned i = 0; i < *len; i++)
        name[i] = (char)(p[i] > ' ' && p[i] < 0x7f ? p[i] : '?');
    name[*len] = 0;
    return true;
}

static int in_short(struct error *err, const struct state_table *t)
{
    return error_set(err, EINVAL, "saved state ends in the middle of '%s'", t->name);
}

static const struct state_field *field_find(const struct state_table *t, const char *name)
{
    for (const struct state_field *f = t->fields; f->name; f++)
        if (!strcmp(f->name, name))
            return f;
    return NULL;
}

static int load_object(struct state_in *in, const struct state_table *t, void *obj, unsigned depth,
                       struct error *err);

static bool all_bools(const uint8_t *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (p[i] > 1)
            return false;
    return true;
}

static int load_field(struct state_in *in, const struct state_table *t, uint64_t *seen, void *obj,
                      unsigned depth, struct error *err)
{
    char name[256];
    uint32_t size, count, bytes;
    if (!in_name(in, name) || !in_u32(in, &size) || !in_u32(in, &count) || !in_u32(in, &bytes))
        return in_short(err, t);
    const struct state_field *f = field_find(t, name);
    if (!f)
        return error_set(err, EINVAL, "saved state has a field '%.60s.%.60s' unknown to this guise",
                         t->name, name);
    if (size != (f->sub ? 0 : f->size) || count != f->count)
        return error_set(err, EINVAL,
                         "saved state has %u elements of %u bytes in '%s.%s', expected %zu of %zu",
                         count, size, t->name, name, f->count, f->sub ? 0 : f->size);
    size_t index = (size_t)(f - t->fields);
    if (seen[index / 64] >> index % 64 & 1)
        return error_set(err, EINVAL, "saved state has '%s.%s' twice", t->name, name);
    seen[index / 64] |= UINT64_C(1) << index % 64;
    char *dst = (char *)obj + f->offset;
    if (!f->sub) {
        const uint8_t *p = bytes == f->size * f->count ? in_bytes(in, bytes) : NULL;
        if (!p)
            return in_short(err, t);
        if (f->is_bool && !all_bools(p, bytes))
            return error_set(err, EINVAL, "saved state has '%s.%s' neither true nor false", t->name,
                             name);
        memcpy(dst, p, bytes);
        return 0;
    }
    size_t start = in->pos;
    for (size_t i = 0; i < f->count; i++) {
        int rc = load_object(in, f->sub, dst + i * f->size, depth + 1, err);
        if (rc)
            return rc;
    }
    if (in->pos - start != bytes)
        return error_set(err, EINVAL, "saved state has '%s.%s' in %u bytes, which hold %zu",
                         t->name, name, bytes, in->pos - start);
    return 0;
}

static int load_object(struct state_in *in, const struct state_table *t, void *obj, unsigned depth,
                       struct error *err)
{
    char name[256];
    uint32_t version, fields;
    if (depth > MAX_DEPTH || !in_name(in, name) || !in_u32(in, &version) || !in_u32(in, &fields))
        return in_short(err, t);
    if (strcmp(name, t->name))
        return error_set(err, EINVAL, "saved state has '%.60s' where '%s' belongs", name, t->name);
    if (!version || version > t->version)
        return error_set(err, EINVAL,
                         "saved state of '%s' has version %u, this guise reads up to %u", t->name,
                         version, t->version);
    uint64_t seen[MAX_FIELDS / 64] = {0};
    assert(field_count(t) <= MAX_FIELDS);
    for (uint32_t i = 0; i < fields; i++) {
        int rc = load_field(in, t, seen, obj, depth, err);
        if (rc)
            return rc;
    }
    for (const struct state_field *f = t->fields; f->name; f++) {
        size_t index = (size_t)(f - t->fields);
        if (f->since <= version && !(seen[index / 64] >> index % 64 & 1))
            return error_set(err, EINVAL, "saved state lacks '%s.%s'", t->name, f->name);
    }
    return t->post_load ? t->post_load(obj, err) : 0;
}

int state_load(struct state_in *in, const struct state_table *t, void *obj, struct error *err)
{
    return load_object(in, t, obj, 0, err);
}

int state_load_bytes(struct state_in *in, const char *name, const uint8_t **data, size_t *len,
                     struct error *err)
{
    char got[256];
    uint32_t n;
    if (!in_name(in, got) || !in_u32(in, &n))
        return error_set(err, EINVAL, "saved state ends where '%s' belongs", name);
    if (strcmp(got, name))
        return error_set(err, EINVAL, "saved state has '%.60s' where '%s' belongs", got, name);
    *data = in_bytes(in, n);
    *len = n;
    if (!*data)
        return error_set(err, EINVAL, "saved state ends in the middle of '%s'", name);
    return 0;
}

/* ---- comparing ---- */

uint64_t state_hash(uint64_t seed, const struct state_table *t, void *obj)
{
    struct state_out out = {0};
    state_save(&out, t, obj);
    uint64_t hash = XXH3_64bits_withSeed(out.data, out.len, seed);
    state_out_free(&out);
    return hash;
}

static uint64_t elem_value(const void *p, size_t size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return v;
}

static bool equal_object(const struct state_table *t, const void *a, const void *b,
                         const char *prefix, char *buf, size_t size)
{
    for (const struct state_field *f = t->fields; f->name; f++) {
        /* Nearly always all of it is equal; names are made only for what is not. */
        if (!f->sub && !memcmp(field_elem(f, a, 0), field_elem(f, b, 0), f->size * f->count))
            continue;
        for (size_t i = 0; i < f->count; i++) {
            const void *ea = field_elem(f, a, i), *eb = field_elem(f, b, i);
            char path[256];
            if (f->count > 1)
                snprintf(path, sizeof path, "%s.%s[%zu]", prefix, f->name, i);
            else
                snprintf(path, sizeof path, "%s.%s", prefix, f->name);
            if (f->sub) {
                if (!equal_object(f->sub, ea, eb, path, buf, size))
                    return false;
            } else if (memcmp(ea, eb, f->size)) {
                snprintf(buf, size, "%s: 0x%llx != 0x%llx", path,
                         (unsigned long long)elem_value(ea, f->size),
                         (unsigned long long)elem_value(eb, f->size));
                return false;
            }
        }
    }
    return true;
}

bool state_equal(const struct state_table *t, const void *a, const void *b, char *buf, size_t size)
{
    return equal_object(t, a, b, t->name, buf, size);
}
