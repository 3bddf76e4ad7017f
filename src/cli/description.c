#include "cli/description.h"

#include "block/block.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1 << 20)
#define VERSION_FIELD "version"

/* What reading one needs to know. */
struct description {
    const char *path;
    char dir[PATH_MAX]; /* with the slash; "": that of the process */
    const struct option *table;
    void *ctx;
    struct option_log *log;
};

/* ---- names of files in values ---- */

/* Does the value go on with one of the words between the bars? Behind it, or NULL. */
static const char *behind_word(const char *words, const char *value)
{
    for (;; words++) {
        size_t n = strcspn(words, "|");
        if (!strncmp(value, words, n))
            return value + n;
        words += n;
        if (!*words)
            return NULL;
    }
}

/*
 * The value with `dir` before each name of a file that does not begin with a slash, and is no URI
 * of a disk; the words that announce one stand at the beginning or behind a comma. To be freed;
 * NULL: out of memory.
 */
static char *with_directory(const struct option *o, const char *value, const char *dir)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (const char *at = value; *at;) {
        const char *name = o->files ? behind_word(o->files, at) : NULL;
        const char *end = name ? name : at;
        bool relative = name && *name && *name != '/' && !block_is_remote(name);
        fprintf(out, "%.*s%s", (int)(end - at), at, relative ? dir : "");
        /* Up to the next comma, unless the name is all there is: it may have commas of its own. */
        size_t rest = o->files && *o->files ? strcspn(end, ",") : strlen(end);
        rest += end[rest] == ',';
        fprintf(out, "%.*s", (int)rest, end);
        at = end + rest;
    }
    return fclose(out) ? NULL : text;
}

/* ---- values ---- */

/* Is `key` one of those that the help of a list's option shows, as in FILE[,key][,key=VALUE]? */
static bool known_part(const struct option *o, const char *key)
{
    size_t len = strlen(key);
    const char *part = strstr(o->value, "[,");
    if (!part)
        return true; /* whoever reads the list says so */
    for (; part; part = strstr(part + 2, "[,"))
        if (!strncmp(part + 2, key, len) && strchr("=]", part[2 + len]))
            return true;
    return false;
}

static int put_part(const struct option *o, FILE *out, const char *key, const json_t *value,
                    struct error *err)
{
    const char *text = json_string_value(value);
    if (!known_part(o, key))
        return error_set(err, EINVAL,
                         "there is no field '%.40s' here; 'guise help run' has --%s %s", key,
                         o->name, o->value);
    if (text && strchr(text, ','))
        return error_set(err, EINVAL, "%.40s: '%.80s' has a comma; write it all as one string", key,
                         text);
    if (text)
        fprintf(out, ",%s=%s", key, text);
    else if (json_is_integer(value))
        fprintf(out, ",%s=%" JSON_INTEGER_FORMAT, key, json_integer_value(value));
    else if (json_is_true(value))
        fprintf(out, ",%s", key);
    else if (!json_is_false(value))
        return error_set(err, EINVAL, "%.40s: must be a string, a number, true or false", key);
    return 0;
}

/* {"file": "x", "readonly": true, "format": "raw"} as x,readonly,format=raw */
static int put_parts(const struct option *o, FILE *out, const json_t *object, struct error *err)
{
    const char *head = json_string_value(json_object_get(object, o->head)), *key;
    json_t *value;
    if (!head || strchr(head, ','))
        return error_set(err, EINVAL, "needs \"%s\", a string without commas", o->head);
    fputs(head, out);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t many = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; strcmp(key, o->head) && i < many; i++)
            if (put_part(o, out, key, json_is_array(value) ? json_array_get(value, i) : value, err))
                return -err->code;
    }
    return 0;
}

static int wrong_type(const struct option *o, struct error *err)
{
    static const char *const wanted[] = {
        [OPTION_STRING] = "must be a string",
        [OPTION_NUMBER] = "must be an integer, 0 or more",
        [OPTION_SIZE] = "must be a number of bytes, or a string such as \"512M\"",
    };
    return error_set(err, EINVAL, "%s%s", wanted[o->json],
                     o->head ? ", or an object with its parts" : "");
}

/* The value as the command line would have it, in a stream. */
static int put_value(const struct option *o, FILE *out, const json_t *value, struct error *err)
{
    if (json_is_string(value) && o->json != OPTION_NUMBER)
        fputs(json_string_value(value), out);
    else if (json_is_integer(value) && json_integer_value(value) >= 0 && o->json != OPTION_STRING)
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_object(value) && o->head)
        return put_parts(o, out, value, err);
    else
        return wrong_type(o, err);
    return 0;
}

/* A sentence about an option names it as on the command line, which the place in the file repeats.
 */
static int prefix_place(const struct option *o, const char *place, struct error *err)
{
    struct error old = *err;
    char name[64];
    size_t n = (size_t)snprintf(name, sizeof name, "--%s: ", o->name);
    return error_set(err, old.code, "%s: %s", place, old.msg + (strncmp(old.msg, name, n) ? 0 : n));
}

static int apply_text(struct description *d, const struct option *o, const char *text,
                      struct error *err)
{
    char *value = with_directory(o, text, d->dir);
    if (!value)
        return error_set(err, ENOMEM, "out of memory");
    int rc = option_apply(o, value, d->ctx, d->log, err);
    free(value);
    return rc;
}

static int apply_value(struct description *d, const struct option *o, const json_t *value,
                       const char *place, struct error *err)
{
    char *text = NULL;
    size_t size;
    int rc = 0;
    if (!o->value && json_is_boolean(value)) {
        rc = json_is_true(value) ? option_apply(o, NULL, d->ctx, d->log, err) : 0;
    } else if (!o->value) {
        rc = error_set(err, EINVAL, "must be true or false");
    } else {
        FILE *out = open_memstream(&text, &size);
        rc = out ? put_value(o, out, value, err) : error_set(err, ENOMEM, "out of memory");
        if (out && fclose(out) && !rc)
            rc = error_set(err, ENOMEM, "out of memory");
        if (!rc)
            rc = apply_text(d, o, text, err);
        free(text);
    }
    return rc ? prefix_place(o, place, err) : 0;
}

/* ---- fields ---- */

static int apply_field(struct description *d, const struct option *o, const json_t *value,
                       struct error *err)
{
    char place[64];
    if (!o->repeats || !json_is_array(value))
        return apply_value(d, o, value, o->name, err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        snprintf(place, sizeof place, "%s[%zu]", o->name, i);
        int rc = apply_value(d, o, json_array_get(value, i), place, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int check_fields(const struct description *d, const json_t *root, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        const struct option *o = d->table;
        while (o->name && (strcmp(o->name, key) || o->json == OPTION_NONE))
            o++;
        if (!o->name && strcmp(key, VERSION_FIELD))
            return error_set(err, EINVAL,
                             "there is no field '%.40s'; fields are named as the options that "
                             "'guise help run' lists",
                             key);
    }
    value = json_object_get(root, VERSION_FIELD);
    if (value && !(json_is_integer(value) && json_integer_value(value) == DESCRIPTION_VERSION))
        return error_set(err, EINVAL, VERSION_FIELD ": this guise reads version %d",
                         DESCRIPTION_VERSION);
    return 0;
}

static int apply_fields(struct description *d, const json_t *root, struct error *err)
{
    if (!json_is_object(root))
        return error_set(err, EINVAL, "a description is an object, as in {\"kernel\": \"Image\"}");
    int rc = check_fields(d, root, err);
    for (const struct option *o = d->table; o->name && !rc; o++) {
        const json_t *value = json_object_get(root, o->name);
        if (value)
            rc = apply_field(d, o, value, err);
    }
    return rc;
}

/* ---- reading ---- */

/* jansson quotes what it did not like, of which not all can be printed. */
static int syntax_error(const json_error_t *where, struct error *err)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    snprintf(text, sizeof text, "%s", where->text);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = '?';
    return error_set(err, EINVAL, "line %d, column %d: %s", where->line, where->column, text);
}

static json_t *load_file(const char *path, struct error *err)
{
    json_error_t where;
    struct stat st;
    json_t *root = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        error_set(err, errno, "cannot be opened: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
        error_set(err, EINVAL, "is not a file with the description of a machine");
    else if (!(root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where)))
        syntax_error(&where, err);
    if (fd >= 0)
        close(fd);
    return root;
}

int description_read(const char *path, const struct option *table, void *ctx,
                     struct option_log *log, struct error *err)
{
    struct description d = {.path = path, .table = table, .ctx = ctx, .log = log};
    const char *slash = strrchr(path, '/');
    snprintf(d.dir, sizeof d.dir, "%.*s", slash ? (int)(slash - path + 1) : 0, path);
    json_t *root = load_file(path, err);
    if (!root)
        return error_prefix(err, "%s", path);
    int rc = apply_fields(&d, root, err);
    json_decref(root);
    return rc ? error_prefix(err, "%s", path) : 0;
}

/* ---- printing ---- */

static json_t *value_json(const struct option *o, const char *value, const char *dir)
{
    char *end;
    if (!o->value)
        return json_true();
    if (o->json == OPTION_NUMBER)
        return json_integer((json_int_t)strtoull(value, &end, 10));
    char *text = with_directory(o, value, dir);
    json_t *json = text ? json_string(text) : NULL;
    free(text);
    return json;
}

/* All values of an option that repeats, else the last; NULL: it was not given. */
static json_t *option_value(const struct option *o, const struct option_log *log, const char *dir,
                            struct error *err)
{
    json_t *found = NULL;
    for (size_t i = 0; i < log->count; i++) {
        if (log->given[i].option != o)
            continue;
        json_t *one = value_json(o, log->given[i].value, dir);
        if (!one) {
            json_decref(found);
            error_set(err, EINVAL, "--%s %s: is not UTF-8, as a description must be", o->name,
                      log->given[i].value);
            return NULL;
        }
        if (o->repeats) {
            found = found ? found : json_array();
            json_array_append_new(found, one);
        } else {
            json_decref(found);
            found = one;
        }
    }
    return found;
}

int description_print(const struct option *table, const struct option_log *log, FILE *out,
                      struct error *err)
{
    char dir[PATH_MAX];
    if (!getcwd(dir, sizeof dir - 1))
        return error_set(err, errno, "the current directory is not known: %s", strerror(errno));
    strcat(dir, "/");
    json_t *root = json_object();
    json_object_set_new(root, VERSION_FIELD, json_integer(DESCRIPTION_VERSION));
    err->code = 0;
    for (const struct option *o = table; o->name && !err->code; o++) {
        json_t *value = o->json == OPTION_NONE ? NULL : option_value(o, log, dir, err);
        if (value)
            json_object_set_new(root, o->name, value);
    }
    int rc = -err->code;
    if (!rc && (json_dumpf(root, out, JSON_INDENT(4)) || fputc('\n', out) == EOF || fflush(out)))
        rc = error_set(err, EIO, "the description cannot be written");
    json_decref(root);
    return rc;
}
