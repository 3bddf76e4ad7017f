/*
 * A hostile client: each line of the input is a request to a machine that is not running. The
 * answer is one line of JSON that says what it is; nothing else may come of it.
 */
#include "ctl/request.h"
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* A loop as firmware, with a network card. Made once: requests leave nothing behind that matters.
 */
static struct vm *fuzz_machine(void)
{
    static const uint32_t loop = 0x6f; /* j . */
    static struct vm *vm;
    struct small_file firmware;
    struct error err;
    if (vm)
        return vm;
    small_open(&firmware);
    small_put(&firmware, &loop, sizeof loop);
    struct vm_config config = small_config(1000);
    config.firmware = firmware.path;
    config.nets[config.net_count++] = "none";
    vm = vm_new(&config, &err);
    must(vm, "no machine");
    return vm;
}

static void fuzz_check(const char *text)
{
    must(text, "no memory for an answer");
    size_t len = strlen(text);
    must(len && strchr(text, '\n') == text + len - 1, "an answer is not one line");
    json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    must(json_is_object(answer), "an answer is no object");
    bool ok = json_is_true(json_object_get(answer, "ok"));
    const json_t *error = json_object_get(answer, "error");
    must(json_is_object(json_object_get(answer, "result")) == ok, "a result without success");
    must(ok || (json_is_string(json_object_get(error, "code")) &&
                json_string_length(json_object_get(error, "message"))),
         "a refusal without a reason");
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ctl_machine m = {fuzz_machine(), "fuzz", "0"};
    const char *at = (const char *)data;
    while (size) {
        const char *end = memchr(at, '\n', size);
        size_t len = end ? (size_t)(end - at) : size;
        char *text = ctl_answer(&m, at, len < CTL_LINE_MAX ? len : CTL_LINE_MAX);
        fuzz_check(text);
        free(text);
        len += end != NULL;
        at += len;
        size -= len;
    }
    return 0;
}
