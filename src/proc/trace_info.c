/* What siginfo_t tells a traced thread. */
#include "proc/trace.h"

void trace_pack(siginfo_t *info)
{
    info->si_errno = (int)((unsigned)info->si_signo | (unsigned)info->si_code << 8);
    info->si_code = TRACE_CALL_SIGNAL;
    info->si_signo = SIGBUS;
}

void trace_unpack(siginfo_t *info)
{
    unsigned both = (unsigned)info->si_errno;
    info->si_signo = (int)(both & 0xff);
    info->si_code = (int)both >> 8;
    info->si_errno = 0;
}

bool trace_is_ours(const siginfo_t *info)
{
    return info->si_code >= TRACE_RAISED && info->si_code <= TRACE_CALL_SIGNAL;
}
