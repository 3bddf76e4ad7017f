#include "ctl/client.h"

#include "ctl/command.h"
#include "ctl/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_S 10
#define ANSWER_MAX (1u << 20)

int ctl_connect(const char *path, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    if (strlen(path) >= sizeof addr.sun_path)
        return error_set(err, ENAMETOOLONG, "%.120s: too long for a socket's path", path);
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, errno, "cannot make a socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (!connect(fd, (const struct sockaddr *)&addr, sizeof addr))
        return fd;
    int code = errno;
    close(fd);
    return error_set(err, code, "%s: no machine can be reached there: %s", path, strerror(code));
}

static int call_send(int fd, const char *line, struct error *err)
{
    for (size_t len = strlen(line); len;) {
        ssize_t n = send(fd, line, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return error_set(err, errno, "the machine takes no request: %s", strerror(errno));
        if (n > 0) {
            line += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* The answer's line, to be freed. */
static char *call_receive(int fd, struct error *err)
{
    char *line = malloc(ANSWER_MAX);
    size_t len = 0;
    while (line && len < ANSWER_MAX) {
        ssize_t n = recv(fd, line + len, ANSWER_MAX - len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            error_set(err, n ? errno : EPIPE, "the machine does not answer: %s",
                      n ? strerror(errno) : "it is gone");
            free(line);
            return NULL;
        }
        len += (size_t)n;
        if (line[len - 1] == '\n') {
            line[len - 1] = 0;
            return line;
        }
    }
    free(line);
    error_set(err, EBADMSG, "the machine's answer is too long");
    return NULL;
}

static int call_result(const char *line, json_t **result, struct error *err)
{
    json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    *result = json_incref(json_object_get(answer, "result"));
    int rc = 0;
    if (!json_is_true(json_object_get(answer, "ok"))) {
        json_t *error = json_object_get(answer, "error");
        const char *message = json_string_value(json_object_get(error, "message"));
        rc = message ? error_set(err, EREMOTEIO, "%s", message) : -EBADMSG;
    } else if (!json_is_object(*result)) {
        rc = -EBADMSG;
    }
    if (rc == -EBADMSG)
        error_set(err, EBADMSG, "what answers is not a machine of guise");
    if (rc) {
        json_decref(*result);
        *result = NULL;
    }
    json_decref(answer);
    return rc;
}

int ctl_call(int fd, const char *command, json_t *args, json_t **result, struct error *err)
{
    json_t *request = json_pack("{s:i, s:s, s:O*}", "protocol", CTL_PROTOCOL, "command", command,
                                "arguments", args);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text)
        return error_set(err, EINVAL, "'%.80s' cannot be asked: it is not UTF-8", command);
    int rc = call_send(fd, text, err);
    if (!rc)
        rc = call_send(fd, "\n", err);
    free(text);
    char *line = rc ? NULL : call_receive(fd, err);
    if (!line)
        return -err->code;
    rc = call_result(line, result, err);
    free(line);
    return rc;
}
