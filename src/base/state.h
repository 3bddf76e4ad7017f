/*
 * Declared, versioned state.
 *
 * Everything that a snapshot, a clone, a migration or a lockstep comparison must carry is listed in
 * a table of fields next to the struct that holds it. The tables are the only thing that knows how
 * state is written: no struct goes raw into a file.
 *
 * On the wire each object is: the table's name, the table's version, and for each field its name,
 * element size, count and bytes (little-endian). A reader finds fields by name, so fields may be
 * reordered; a field added later carries the version that brought it (`since`) and keeps its value
 * of before the load when an older stream lacks it. Anything else that does not match is an error
 * that names the object and field. A stream is hostile input: every length is checked, and a bool
 * that is neither 0 nor 1 is refused, because C leaves open what reading it does.
 *
 * Use:
 *     static const struct state_field uart_fields[] = {
 *         STATE_FIELD(struct uart, ier),              // unsigned or bool
 *         STATE_ARRAY(struct uart, rx),               // array of them
 *         STATE_STRUCT(struct uart, fifo, &fifo_state),   // STATE_STRUCTS: array
 *         STATE_FIELD_SINCE(struct uart, dlab2, 2),
 *         STATE_END,
 *     };
 *     const struct state_table uart_state = {.name = "ns16550", .version = 2,
 *                                            .fields = uart_fields, .size = sizeof(struct uart)};
 *
 * Threads: none of this locks; the caller makes sure that the object does not change.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_table;

struct state_field {
    const char *name;              /* NULL ends the list */
    size_t offset;                 /* in the object */
    size_t size;                   /* of one element: 1, 2, 4 or 8, or sub's size */
    size_t count;                  /* elements */
    uint32_t since;                /* first version that has the field */
    const struct state_table *sub; /* element type when it is a struct */
    bool is_bool;                  /* elements are bool: a reader takes 0 and 1 only */
};

struct state_table {
    const char *name;
    uint32_t version; /* 1 and up */
    size_t size;      /* sizeof the object */
    const struct state_field *fields;
    /* Both may be NULL. post_load checks values (0 or -errno) and rebuilds what is derived. */
    void (*pre_save)(void *obj);
    int (*post_load)(void *obj, struct error *err);
};

#define STATE_IS_BOOL(e)                                  \
    (__builtin_types_compatible_p(__typeof__(e), bool) || \
     __builtin_types_compatible_p(__typeof__(e), _Atomic bool))
#define STATE_SCALARS(type, m, elem, v)                                                         \
    {                                                                                           \
        .name = #m, .offset = offsetof(type, m), .size = sizeof(((type *)0)->elem),             \
        .count = sizeof(((type *)0)->m) / sizeof(((type *)0)->elem), .since = (v), .sub = NULL, \
        .is_bool = STATE_IS_BOOL(((type *)0)->elem)                                             \
    }

/* One unsigned or bool member. */
#define STATE_FIELD(type, m) STATE_SCALARS(type, m, m, 1)
#define STATE_FIELD_SINCE(type, m, v) STATE_SCALARS(type, m, m, v)
/* An array of unsigned or bool members. */
#define STATE_ARRAY(type, m) STATE_SCALARS(type, m, m[0], 1)
#define STATE_ARRAY_SINCE(type, m, v) STATE_SCALARS(type, m, m[0], v)
/* A member struct, or an array of them (then the macro counts the elements). */
#define STATE_STRUCT(type, m, table)                                                         \
    {                                                                                        \
        .name = #m, .offset = offsetof(type, m), .size = sizeof(((type *)0)->m), .count = 1, \
        .since = 1, .sub = (table)                                                           \
    }
#define STATE_STRUCTS(type, m, table)                                                           \
    {                                                                                           \
        .name = #m, .offset = offsetof(type, m), .size = sizeof(((type *)0)->m[0]),             \
        .count = sizeof(((type *)0)->m) / sizeof(((type *)0)->m[0]), .since = 1, .sub = (table) \
    }
#define STATE_END    \
    {                \
        .name = NULL \
    }

/* A growing byte buffer. Out of memory sets `failed`; the owner checks it once, at the end. */
struct state_out {
    uint8_t *data;
    size_t len, cap;
    bool failed;
};

struct state_in {
    const uint8_t *data;
    size_t len, pos;
};

/* Appends the object. Calls pre_save first. */
void state_save(struct state_out *out, const struct state_table *t, void *obj);

/* Reads one object of table t. On error *obj may be partly changed. */
int state_load(struct state_in *in, const struct state_table *t, void *obj, struct error *err);

/* Raw bytes with a name and length, for what is not a struct (RAM pages). */
void state_save_bytes(struct state_out *out, const char *name, const void *data, size_t len);
/* *data points into the stream. */
int state_load_bytes(struct state_in *in, const char *name, const uint8_t **data, size_t *len,
                     struct error *err);

void state_out_free(struct state_out *out);

/* 64-bit hash of the object's declared fields (xxHash), chained through `seed`. */
uint64_t state_hash(uint64_t seed, const struct state_table *t, void *obj);

/*
 * Compares two objects field by field. Returns true if equal; otherwise writes the first
 * difference as "hart.x[3]: 0x1 != 0x2" into buf.
 */
bool state_equal(const struct state_table *t, const void *a, const void *b, char *buf, size_t size);
