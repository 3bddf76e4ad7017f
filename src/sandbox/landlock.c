#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in the newest headers; older kernels take a shorter one. */
struct ruleset {
    uint64_t files, net, scoped;
};

#define FILES_V1 ((UINT64_C(1) << 13) - 1)
#define FILES_V2 (UINT64_C(1) << 13) /* links and renames across directories */
#define FILES_V3 (UINT64_C(1) << 14) /* truncation */
#define FILES_V5 (UINT64_C(1) << 15) /* ioctl of devices */
#define NET_V4 UINT64_C(3)           /* TCP: bind, connect */
#define SCOPED_V6 UINT64_C(3)        /* abstract sockets, signals */

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_RIGHTS                                                  \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_MAKE_REG | FILES_V3)
#define TREE_RIGHTS                                                          \
    (~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
                 LANDLOCK_ACCESS_FS_MAKE_BLOCK | FILES_V5))

/* Of these, what there is to allow for something that is no directory. */
#define FILE_RIGHTS                                                                              \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | \
     FILES_V3 | FILES_V5)

static uint64_t landlock_files(int abi)
{
    return FILES_V1 | (abi >= 2 ? FILES_V2 : 0) | (abi >= 3 ? FILES_V3 : 0) |
           (abi >= 5 ? FILES_V5 : 0);
}

static struct ruleset landlock_all(int abi, bool net)
{
    return (struct ruleset){
        .files = landlock_files(abi),
        .net = abi >= 4 && !net ? NET_V4 : 0,
        .scoped = abi >= 6 ? SCOPED_V6 : 0,
    };
}

/* What is not there needs no rule. */
static int landlock_allow(int rules, int abi, const struct landlock_path *p)
{
    static const uint64_t rights[] = {
        [LANDLOCK_READ] = READ_RIGHTS | FILES_V5,
        [LANDLOCK_WRITE] = READ_RIGHTS | WRITE_RIGHTS | FILES_V5,
        [LANDLOCK_TREE] = TREE_RIGHTS,
    };
    struct stat st;
    uint64_t access = rights[p->rights];
    int fd = p->path ? open(p->path, O_PATH | O_CLOEXEC) : p->fd;
    if (fd < 0)
        return 0;
    if (fstat(fd, &st) || !S_ISDIR(st.st_mode))
        access &= FILE_RIGHTS;
    struct landlock_path_beneath_attr rule = {.allowed_access = access & landlock_files(abi),
                                              .parent_fd = fd};
    long rc = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int code = errno;
    if (p->path)
        close(fd);
    return rc ? -code : 0;
}

int landlock_confine(const struct landlock_path *paths, unsigned count, bool net)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? 0 : -errno;
    const struct ruleset all = landlock_all((int)abi, net);
    size_t size = abi >= 6 ? sizeof all : abi >= 4 ? sizeof all - 8 : sizeof all - 16;
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
    if (rules < 0)
        return -errno;
    int rc = 0;
    for (unsigned i = 0; !rc && i < count; i++)
        rc = landlock_allow(rules, (int)abi, &paths[i]);
    if (!rc && syscall(SYS_landlock_restrict_self, rules, 0))
        rc = -errno;
    close(rules);
    return rc ? rc : (int)abi;
}
