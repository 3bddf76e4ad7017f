#include "chr/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_KEY ",name="
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static bool port_name_valid(const char *name)
{
    return strspn(name, LETTERS) && strspn(name, LETTERS "._-") == strlen(name) &&
           strlen(name) <= CHR_PORT_NAME_MAX;
}

/* *spec is allocated. */
static int port_parse(const char *text, char **spec, char *name, struct error *err)
{
    /* The last one: a path may have commas of its own. */
    const char *comma = strrchr(text, ',');
    *spec = NULL;
    if (!comma || strncmp(comma, NAME_KEY, strlen(NAME_KEY)))
        return error_set(err, EINVAL, "'%s' does not end with ,name=NAME", text);
    const char *given = comma + strlen(NAME_KEY);
    if (!port_name_valid(given))
        return error_set(err, EINVAL,
                         "'%.80s' is not up to %d letters and digits, with . _ - after the first",
                         given, CHR_PORT_NAME_MAX);
    strcpy(name, given);
    if (strncmp(text, "unix:", 5) && strncmp(text, "file:", 5))
        return error_set(err, EINVAL, "'%s' is no port; use unix:PATH or file:PATH", text);
    *spec = strndup(text, (size_t)(comma - text));
    return *spec ? chr_check(*spec, err) : error_set(err, ENOMEM, "out of memory for '%s'", text);
}

int chr_port_check(const char *text, char name[CHR_PORT_NAME_MAX + 1], struct error *err)
{
    char *spec;
    int rc = port_parse(text, &spec, name, err);
    free(spec);
    return rc;
}

struct chr *chr_port_open(const char *text, char name[CHR_PORT_NAME_MAX + 1], struct loop *loop,
                          struct error *err)
{
    char *spec;
    struct chr *c = port_parse(text, &spec, name, err) ? NULL : chr_open(spec, loop, err);
    free(spec);
    return c;
}

bool chr_port_listens(const char *text)
{
    return !strncmp(text, "unix:", 5);
}
