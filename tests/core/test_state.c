/*
 * Saved state: the bytes on the wire, what a reader accepts, and that a hostile stream is refused.
 * Streams are put together by hand here, so that writer and reader are not each other's oracle.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/state.h"

struct point {
    uint16_t x;
    bool on;
};

struct thing {
    uint8_t a;
    uint32_t skipped; /* in no table */
    uint64_t b;
    uint16_t list[3];
    struct point points[2];
    struct point single;
    uint32_t later;
    unsigned saves, loads;
};

static void thing_pre_save(void *obj)
{
    ((struct thing *)obj)->saves++;
}

static int thing_post_load(void *obj, struct error *err)
{
    struct thing *t = obj;
    t->loads++;
    return t->a == 0xee ? error_set(err, ERANGE, "a is 0xee") : 0;
}

static const struct state_field point_fields[] = {
    STATE_FIELD(struct point, x),
    STATE_FIELD(struct point, on),
    STATE_END,
};
static const struct state_table point_state = {
    .name = "point", .version = 1, .size = sizeof(struct point), .fields = point_fields};

static const struct state_field thing_fields[] = {
    STATE_FIELD(struct thing, a),
    STATE_FIELD(struct thing, b),
    STATE_ARRAY(struct thing, list),
    STATE_STRUCTS(struct thing, points, &point_state),
    STATE_STRUCT(struct thing, single, &point_state),
    STATE_FIELD_SINCE(struct thing, later, 2),
    STATE_END,
};
static const struct state_table thing_state = {.name = "thing",
                                               .version = 2,
                                               .size = sizeof(struct thing),
                                               .fields = thing_fields,
                                               .pre_save = thing_pre_save,
                                               .post_load = thing_post_load};

/* Two scalars are enough for what concerns a table's fields as such. */
struct pair {
    uint8_t a;
    uint16_t b;
    bool flag;
};
static const struct state_field pair_fields[] = {
    STATE_FIELD(struct pair, a),
    STATE_FIELD(struct pair, b),
    STATE_FIELD_SINCE(struct pair, flag, 3),
    STATE_END,
};
static const struct state_table pair_state = {
    .name = "pair", .version = 3, .size = sizeof(struct pair), .fields = pair_fields};

static const struct thing sample = {
    .a = 0x12,
    .skipped = 0x99,
    .b = UINT64_C(0x8877665544332211),
    .list = {1, 0xfffe, 3},
    .points = {{.x = 7, .on = true}, {.x = 8, .on = false}},
    .single = {.x = 9, .on = true},
    .later = 0xdeadbeef,
};

/* ---- a stream made by hand ---- */

struct wire {
    uint8_t data[512];
    size_t len;
};

static void put_u32(struct wire *w, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        w->data[w->len++] = (uint8_t)(v >> (8 * i));
}

static void put_name(struct wire *w, const char *name)
{
    size_t len = strlen(name);
    w->data[w->len++] = (uint8_t)len;
    memcpy(w->data + w->len, name, len);
    w->len += len;
}

static void put_table(struct wire *w, const char *name, uint32_t version, uint32_t fields)
{
    put_name(w, name);
    put_u32(w, version);
    put_u32(w, fields);
}

static void put_head(struct wire *w, const char *name, uint32_t size, uint32_t count,
                     uint32_t bytes)
{
    put_name(w, name);
    put_u32(w, size);
    put_u32(w, count);
    put_u32(w, bytes);
}

/* One scalar of `size` bytes. */
static void put_scalar(struct wire *w, const char *name, uint32_t size, uint64_t v)
{
    put_head(w, name, size, 1, size);
    for (unsigned i = 0; i < size; i++)
        w->data[w->len++] = (uint8_t)(v >> (8 * i));
}

/* Loads from a copy of exactly this length, so that a sanitizer sees what is read past it. */
static int load_exact(const struct state_table *t, void *obj, const uint8_t *data, size_t len,
                      size_t *used, struct error *err)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    struct state_in in = {.data = copy, .len = len};
    int rc = state_load(&in, t, obj, err);
    assert_true(in.pos <= len);
    if (used)
        *used = in.pos;
    free(copy);
    return rc;
}

static int load_pair(const struct wire *w, struct pair *p, struct error *err)
{
    *err = (struct error){0};
    *p = (struct pair){.a = 0x55, .b = 0x6666, .flag = true};
    size_t used;
    int rc = load_exact(&pair_state, p, w->data, w->len, &used, err);
    if (!rc)
        assert_int_equal(used, w->len);
    return rc;
}

static void refused(const struct wire *w, const char *part)
{
    struct pair p;
    struct error err;
    assert_int_equal(load_pair(w, &p, &err), -EINVAL);
    assert_int_equal(err.code, EINVAL);
    if (!strstr(err.msg, part))
        fail_msg("'%s' lacks '%s'", err.msg, part);
}

/* ---- tests ---- */

static void test_wire(void **state)
{
    (void)state;
    struct wire w = {0};
    put_table(&w, "pair", 3, 3);
    put_scalar(&w, "a", 1, 0x12);
    put_scalar(&w, "b", 2, 0x3456);
    put_scalar(&w, "flag", 1, 1);
    struct pair p = {.a = 0x12, .b = 0x3456, .flag = true};
    struct state_out out = {0};
    state_save(&out, &pair_state, &p);
    assert_false(out.failed);
    assert_int_equal(out.len, w.len);
    assert_memory_equal(out.data, w.data, w.len);
    state_out_free(&out);
    assert_null(out.data);
    assert_int_equal(out.len, 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct thing from = sample, to = {.skipped = 0x77};
    struct state_out out = {0};
    state_save(&out, &thing_state, &from);
    assert_int_equal(from.saves, 1);
    struct error err = {0};
    size_t used;
    assert_int_equal(load_exact(&thing_state, &to, out.data, out.len, &used, &err), 0);
    assert_int_equal(used, out.len);
    assert_int_equal(to.a, 0x12);
    assert_true(to.b == UINT64_C(0x8877665544332211));
    assert_int_equal(to.list[0], 1);
    assert_int_equal(to.list[1], 0xfffe);
    assert_int_equal(to.list[2], 3);
    assert_int_equal(to.points[0].x, 7);
    assert_true(to.points[0].on);
    assert_int_equal(to.points[1].x, 8);
    assert_false(to.points[1].on);
    assert_int_equal(to.single.x, 9);
    assert_true(to.single.on);
    assert_int_equal(to.later, 0xdeadbeef);
    assert_int_equal(to.skipped, 0x77);
    assert_int_equal(to.loads, 1);
    state_out_free(&out);
}

static void test_other_order(void **state)
{
    (void)state;
    struct wire w = {0};
    put_table(&w, "pair", 3, 3);
    put_scalar(&w, "flag", 1, 0);
    put_scalar(&w, "b", 2, 0x3456);
    put_scalar(&w, "a", 1, 0x12);
    struct pair p;
    struct error err;
    assert_int_equal(load_pair(&w, &p, &err), 0);
    assert_int_equal(p.a, 0x12);
    assert_int_equal(p.b, 0x3456);
    assert_false(p.flag);
}

static void test_since(void **state)
{
    (void)state;
    for (uint32_t version = 1; version <= 3; version++) {
        struct wire w = {0};
        put_table(&w, "pair", version, 2);
        put_scalar(&w, "a", 1, 0x12);
        put_scalar(&w, "b", 2, 0x3456);
        if (version == 3) {
            refused(&w, "lacks 'pair.flag'");
            continue;
        }
        struct pair p;
        struct error err;
        assert_int_equal(load_pair(&w, &p, &err), 0);
        assert_int_equal(p.a, 0x12);
        assert_int_equal(p.b, 0x3456);
        assert_true(p.flag);
    }
}

static void test_versions(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 4, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wire w = {0};
        put_table(&w, "pair", bad[i], 3);
        put_scalar(&w, "a", 1, 1);
        put_scalar(&w, "b", 2, 2);
        put_scalar(&w, "flag", 1, 1);
        refused(&w, "'pair' has version");
    }
}

/* A stream of version 3 in which `name` takes the place of field b. */
static struct wire with_field(const char *name, uint32_t size, uint32_t count, uint32_t bytes,
                              unsigned actual)
{
    struct wire w = {0};
    put_table(&w, "pair", 3, 3);
    put_scalar(&w, "a", 1, 1);
    put_head(&w, name, size, count, bytes);
    w.len += actual;
    put_scalar(&w, "flag", 1, 1);
    return w;
}

static void test_bad_fields(void **state)
{
    (void)state;
    struct pair p;
    struct error err;
    struct wire w = with_field("b", 2, 1, 2, 2);
    assert_int_equal(load_pair(&w, &p, &err), 0);

    w = with_field("c", 2, 1, 2, 2);
    refused(&w, "pair.c");
    w = with_field("", 2, 1, 2, 2);
    refused(&w, "unknown");
    w = with_field("b\n", 2, 1, 2, 2);
    refused(&w, "pair.b?");
    w = with_field("a", 1, 1, 1, 1);
    refused(&w, "'pair.a' twice");
    w = with_field("b", 4, 1, 4, 4);
    refused(&w, "pair.b");
    w = with_field("b", 2, 2, 4, 4);
    refused(&w, "pair.b");
    w = with_field("b", 0, 1, 0, 0);
    refused(&w, "pair.b");
    w = with_field("b", 2, 1, 1, 1);
    refused(&w, "pair");
    w = with_field("b", 2, 1, 3, 3);
    refused(&w, "pair");
    w = with_field("b", UINT32_MAX, UINT32_MAX, UINT32_MAX, 2);
    refused(&w, "pair.b");
    w = with_field("b", 2, 1, UINT32_MAX, 2);
    refused(&w, "pair");

    w = (struct wire){0};
    put_table(&w, "pair", 3, 2);
    put_scalar(&w, "a", 1, 1);
    put_scalar(&w, "flag", 1, 1);
    refused(&w, "lacks 'pair.b'");
    w = (struct wire){0};
    put_table(&w, "pair", 3, 0);
    refused(&w, "lacks 'pair.a'");
    w = (struct wire){0};
    put_table(&w, "pear", 3, 0);
    refused(&w, "'pear' where 'pair' belongs");
}

static void test_bad_bool(void **state)
{
    (void)state;
    struct wire w = {0};
    put_table(&w, "pair", 3, 3);
    put_scalar(&w, "a", 1, 1);
    put_scalar(&w, "b", 2, 2);
    put_scalar(&w, "flag", 1, 2);
    refused(&w, "pair.flag");
}

static void test_hostile_counts(void **state)
{
    (void)state;
    struct wire w = {0};
    put_table(&w, "pair", 3, UINT32_MAX);
    put_scalar(&w, "a", 1, 1);
    put_scalar(&w, "b", 2, 2);
    put_scalar(&w, "flag", 1, 1);
    refused(&w, "pair");
    w = (struct wire){.data = {255, 'p'}, .len = 2};
    refused(&w, "pair");
}

static void test_truncation(void **state)
{
    (void)state;
    struct thing from = sample;
    struct state_out out = {0};
    state_save(&out, &thing_state, &from);
    for (size_t len = 0; len < out.len; len++) {
        struct thing to = {0};
        struct error err = {0};
        if (load_exact(&thing_state, &to, out.data, len, NULL, &err) != -EINVAL)
            fail_msg("%zu of %zu bytes were taken", len, out.len);
        assert_int_equal(err.code, EINVAL);
        assert_int_equal(load_exact(&thing_state, &to, out.data, len, NULL, NULL), -EINVAL);
    }
    state_out_free(&out);
}

/* Every byte of the stream in turn has every value; what is taken must have used it all. */
static void test_any_byte(void **state)
{
    (void)state;
    struct thing from = sample;
    struct state_out out = {0};
    state_save(&out, &thing_state, &from);
    unsigned refusals = 0;
    for (size_t at = 0; at < out.len; at++) {
        uint8_t good = out.data[at];
        for (unsigned v = 0; v < 256; v++) {
            out.data[at] = (uint8_t)v;
            struct thing to = {0};
            size_t used;
            if (load_exact(&thing_state, &to, out.data, out.len, &used, NULL))
                refusals++;
            else
                assert_int_equal(used, out.len);
        }
        out.data[at] = good;
    }
    /* Names, sizes and counts are most of the stream; each takes one value only. */
    assert_true(refusals > out.len * 128);
    state_out_free(&out);
}

static void test_nested_length(void **state)
{
    (void)state;
    struct thing from = sample;
    struct state_out out = {0};
    state_save(&out, &thing_state, &from);
    static const uint8_t head[] = {6, 's', 'i', 'n', 'g', 'l', 'e', 0, 0, 0, 0, 1, 0, 0, 0};
    uint8_t *at = memmem(out.data, out.len, head, sizeof head);
    assert_non_null(at);
    at[sizeof head]++;
    struct thing to = {0};
    struct error err = {0};
    assert_int_equal(load_exact(&thing_state, &to, out.data, out.len, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "thing.single"));
    state_out_free(&out);
}

static void test_post_load_refuses(void **state)
{
    (void)state;
    struct thing from = sample, to = {0};
    from.a = 0xee;
    struct state_out out = {0};
    state_save(&out, &thing_state, &from);
    struct error err = {0};
    assert_int_equal(load_exact(&thing_state, &to, out.data, out.len, NULL, &err), -ERANGE);
    assert_string_equal(err.msg, "a is 0xee");
    state_out_free(&out);
}

static void test_bytes(void **state)
{
    (void)state;
    struct state_out out = {0};
    state_save_bytes(&out, "page", "abc", 3);
    state_save_bytes(&out, "page", NULL, 0);
    assert_int_equal(out.len, 21);
    assert_memory_equal(out.data, "\4page\3\0\0\0abc\4page\0\0\0\0", 21);
    struct state_in in = {.data = out.data, .len = out.len};
    const uint8_t *data;
    size_t len;
    assert_int_equal(state_load_bytes(&in, "page", &data, &len, NULL), 0);
    assert_int_equal(len, 3);
    assert_ptr_equal(data, out.data + 9);
    assert_int_equal(state_load_bytes(&in, "page", &data, &len, NULL), 0);
    assert_int_equal(len, 0);
    assert_int_equal(state_load_bytes(&in, "page", &data, &len, NULL), -EINVAL);

    in = (struct state_in){.data = out.data, .len = out.len};
    assert_int_equal(state_load_bytes(&in, "rage", &data, &len, NULL), -EINVAL);
    memset(out.data + 5, 0xff, 4);
    in = (struct state_in){.data = out.data, .len = out.len};
    assert_int_equal(state_load_bytes(&in, "page", &data, &len, NULL), -EINVAL);
    for (size_t n = 0; n < 12; n++) {
        out.data[5] = 3;
        memset(out.data + 6, 0, 3);
        in = (struct state_in){.data = out.data, .len = n};
        assert_int_equal(state_load_bytes(&in, "page", &data, &len, NULL), -EINVAL);
    }
    state_out_free(&out);
}

static void test_equal_and_hash(void **state)
{
    (void)state;
    struct thing a = sample, b = sample;
    char text[80] = "";
    b.skipped = 1;
    assert_true(state_equal(&thing_state, &a, &b, text, sizeof text));
    uint64_t hash = state_hash(1, &thing_state, &a);
    assert_true(hash == state_hash(1, &thing_state, &b));
    assert_true(hash != state_hash(2, &thing_state, &a));

    b.list[1] = 0x10;
    assert_false(state_equal(&thing_state, &a, &b, text, sizeof text));
    assert_string_equal(text, "thing.list[1]: 0xfffe != 0x10");
    assert_true(hash != state_hash(1, &thing_state, &b));
    b = sample;
    b.points[1].x = 5;
    assert_false(state_equal(&thing_state, &a, &b, text, sizeof text));
    assert_string_equal(text, "thing.points[1].x: 0x8 != 0x5");
    assert_true(hash != state_hash(1, &thing_state, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire),          cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_other_order),   cmocka_unit_test(test_since),
        cmocka_unit_test(test_versions),      cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_bad_bool),      cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_truncation),    cmocka_unit_test(test_any_byte),
        cmocka_unit_test(test_nested_length), cmocka_unit_test(test_post_load_refuses),
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_equal_and_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
