#include "proc/strace.h"

#include "proc/strace_impl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void strace_put(struct strace_line *l, const char *format, ...)
{
    va_list args;
    size_t room = sizeof l->text - 1 - l->len; /* one is kept for the end of the line */
    va_start(args, format);
    int n = vsnprintf(l->text + l->len, room, format, args);
    va_end(args);
    if (n > 0)
        l->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void strace_write(struct strace_line *l)
{
    l->text[l->len++] = '\n';
    for (size_t at = 0; at < l->len;) {
        ssize_t n = write(STDERR_FILENO, l->text + at, l->len - at);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

/* ---- arguments ---- */

static void strace_number(struct strace_line *l, enum syscall_type type, uint64_t value)
{
    switch (type) {
    case T_UINT:
        strace_put(l, "%u", (unsigned)value);
        break;
    case T_LONG:
        strace_put(l, "%" PRId64, (int64_t)value);
        break;
    case T_SIZE:
        strace_put(l, "%" PRIu64, value);
        break;
    case T_HEX:
        strace_put(l, "%#" PRIx64, value);
        break;
    case T_MODE:
        strace_put(l, "%#o", (unsigned)value);
        break;
    case T_PTR:
        strace_put(l, value ? "%#" PRIx64 : "NULL", value);
        break;
    case T_DIRFD:
        strace_put(l, (int)value == AT_FDCWD ? "AT_FDCWD" : "%d", (int)value);
        break;
    default: /* T_INT, T_FD */
        strace_put(l, "%d", (int)value);
    }
}

static void strace_argument(struct strace_line *l, enum syscall_type type, uint64_t value,
                            uint64_t next, int64_t result)
{
    if (type < T_PATH)
        strace_number(l, type, value);
    else if (type < T_IN)
        strace_string(l, value);
    else if (type < T_NAMED)
        strace_data(l, type, value, next, result);
    else
        strace_named(l, type, value);
}

/* "123 name(arguments)"; result < 0: the kernel has given nothing. */
static void strace_call(struct strace_line *l, const struct thread *t, uint64_t number,
                        const uint64_t a[SYSCALL_ARGS], int64_t result)
{
    const struct syscall *c = syscall_find(number);
    l->len = 0;
    if (!c) {
        strace_put(l, "%d syscall_%" PRIu64 "(%#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ", ...)",
                   t->tid, number, a[0], a[1], a[2]);
        return;
    }
    strace_put(l, "%d %s(", t->tid, c->name);
    for (unsigned i = 0; i < SYSCALL_ARGS && c->type[i] != T_END; i++) {
        strace_put(l, i ? ", " : "");
        strace_argument(l, (enum syscall_type)c->type[i], a[i], i + 1 < SYSCALL_ARGS ? a[i + 1] : 0,
                        result);
    }
    strace_put(l, ")");
}

/* ---- results ---- */

static bool strace_gives_address(uint64_t number)
{
    const struct syscall *c = syscall_find(number);
    return c && (c->serve == sys_mmap || c->serve == sys_brk || c->serve == sys_mremap ||
                 c->serve == sys_shmat);
}

static void strace_result(struct strace_line *l, uint64_t number, int64_t result)
{
    if (result == -THREAD_RESTART) {
        strace_put(l, " = ? ERESTARTSYS (To be restarted if SA_RESTART is set)");
    } else if (result == SYSCALL_NO_RESULT) {
        strace_put(l, " = ?");
    } else if (result < 0 && result >= -4095) {
        const char *name = strerrorname_np((int)-result);
        strace_put(l, " = -1 %s (%s)", name ? name : "E?", strerrordesc_np((int)-result));
    } else if (strace_gives_address(number)) {
        strace_put(l, " = %#" PRIx64, (uint64_t)result);
    } else {
        strace_put(l, " = %" PRId64, result);
    }
}

/* ---- before and after ---- */

void strace_enter(struct thread *t, uint64_t number, const uint64_t a[SYSCALL_ARGS])
{
    const struct syscall *c = syscall_find(number);
    struct strace_line l;
    if (!c)
        return;
    bool ends = c->serve == sys_exit || c->serve == sys_exit_group;
    if (!ends && c->serve != sys_execve && c->serve != sys_execveat)
        return;
    strace_call(&l, t, number, a, -1);
    strace_put(&l, ends ? " = ?" : " ...");
    strace_write(&l);
}

void strace_leave(struct thread *t, uint64_t number, const uint64_t a[SYSCALL_ARGS], int64_t result)
{
    struct strace_line l;
    strace_call(&l, t, number, a, result);
    strace_result(&l, number, result);
    strace_write(&l);
}
