#include "ctl/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is being found out about a request. Its parts belong to `root`. */
struct request {
    json_t *root, *id, *args;
    const char *name;
    const char *code; /* of the refusal */
    struct error err;
};

/* A refusal's code and sentence; -1 so that it can be returned. */
#define refuse(r, what, ...) ((r)->code = (what), error_set(&(r)->err, EINVAL, __VA_ARGS__), -1)

static int request_field(struct request *r, const char *key, json_t *value)
{
    if (!strcmp(key, "command") && json_is_string(value))
        r->name = json_string_value(value);
    else if (!strcmp(key, "arguments") && json_is_object(value))
        r->args = value;
    else if (!strcmp(key, "id") && (json_is_string(value) || json_is_integer(value)))
        r->id = value;
    else if (!strcmp(key, "protocol") && json_is_integer(value)) {
        if (json_integer_value(value) != CTL_PROTOCOL)
            return refuse(r, "unknown-protocol", "this machine speaks version %d of the protocol",
                          CTL_PROTOCOL);
    } else
        return refuse(r, "bad-request",
                      "'%.40s' is no field of a request, or is of the wrong type: command, "
                      "arguments, id and protocol are a string, an object, a string or integer, "
                      "and an integer",
                      key);
    return 0;
}

static int request_parse(struct request *r, const char *line, size_t len)
{
    json_error_t where;
    const char *key;
    json_t *value;
    int rc = 0;
    r->root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
    if (!r->root)
        return refuse(r, "bad-request", "the line is not valid JSON at its byte %d",
                      where.position);
    if (!json_is_object(r->root))
        return refuse(r, "bad-request", "a request is an object: {\"command\": \"status\"}");
    /* All of them, so that the answer has the request's id even if something else is wrong. */
    json_object_foreach(r->root, key, value)
    {
        if (request_field(r, key, value))
            rc = -1;
    }
    if (!rc && !r->name)
        return refuse(r, "bad-request", "a request needs a command: {\"command\": \"status\"}");
    return rc;
}

static int request_args(struct request *r, const struct ctl_command *c)
{
    size_t known = 0;
    for (const struct ctl_arg *a = c->args; a->name; a++, known++) {
        const json_t *value = json_object_get(r->args, a->name);
        struct error why;
        if (!value)
            return refuse(r, "bad-argument", "command %s needs the argument '%s'", c->name,
                          a->name);
        if (ctl_arg_check(a, value, &why))
            return refuse(r, "bad-argument", "command %s: argument %s", c->name, why.msg);
    }
    if (json_object_size(r->args) > known)
        return refuse(r, "bad-argument", "command %s takes %zu arguments, not %zu", c->name, known,
                      json_object_size(r->args));
    return 0;
}

static int request_run(struct request *r, const struct ctl_machine *m, json_t *result)
{
    const struct ctl_command *c = ctl_command_find(r->name);
    if (!c)
        return refuse(r, "unknown-command",
                      "there is no command '%.40s'; the command commands lists them", r->name);
    if (request_args(r, c))
        return -1;
    r->code = "failed";
    return c->run(m, r->args, result, &r->err);
}

/* Takes over `result`; NULL: it was refused. */
static char *answer_text(const struct request *r, json_t *result)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "protocol", json_integer(CTL_PROTOCOL));
    if (r->id)
        json_object_set(answer, "id", r->id);
    json_object_set_new(answer, "ok", json_boolean(result != NULL));
    if (result) {
        json_object_set_new(answer, "result", result);
    } else {
        json_t *error = json_object();
        json_object_set_new(error, "code", json_string(r->code));
        json_object_set_new(error, "message", ctl_text(r->err.msg));
        json_object_set_new(answer, "error", error);
    }
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    size_t len = text ? strlen(text) : 0;
    char *line = text ? realloc(text, len + 2) : NULL;
    if (!line) {
        free(text);
        return NULL;
    }
    memcpy(line + len, "\n", 2);
    return line;
}

char *ctl_refusal(const char *code, const char *sentence)
{
    struct request r = {.code = code};
    error_set(&r.err, EINVAL, "%s", sentence);
    return answer_text(&r, NULL);
}

char *ctl_answer(const struct ctl_machine *m, const char *line, size_t len)
{
    struct request r = {0};
    json_t *result = json_object();
    if (request_parse(&r, line, len) || request_run(&r, m, result)) {
        json_decref(result);
        result = NULL;
    }
    char *text = answer_text(&r, result);
    json_decref(r.root);
    return text;
}
