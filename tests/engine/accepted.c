/*
 * What the peer, user mode of QEMU 10.0, is known to do differently. Each was looked at, and the
 * manual gives guise right or leaves it open.
 */
#include "diff.h"

#include "base/bits.h"

static const struct {
    uint16_t op;
    enum { ALWAYS, RD_IS_0, RESULT_UNUSED } when;
    const char *why;
} insns[] = {
    {RV_OP_CBO_INVAL, ALWAYS, "cache-block management is switched off in its user mode"},
    {RV_OP_CBO_CLEAN, ALWAYS, "likewise"},
    {RV_OP_CBO_FLUSH, ALWAYS, "likewise"},
    {RV_OP_AMOCAS_W, RD_IS_0, "it overwrites its constant 0, also for what comes after"},
    {RV_OP_AMOCAS_D, RD_IS_0, "likewise"},
    {RV_OP_AMOCAS_Q, RD_IS_0, "likewise"},
    {RV_OP_FROUND_H, RESULT_UNUSED, "it drops the instruction, and with it the flags"},
    {RV_OP_FROUND_S, RESULT_UNUSED, "likewise"},
    {RV_OP_FROUND_D, RESULT_UNUSED, "likewise"},
    {RV_OP_FROUNDNX_H, RESULT_UNUSED, "likewise"},
    {RV_OP_FROUNDNX_S, RESULT_UNUSED, "likewise"},
    {RV_OP_FROUNDNX_D, RESULT_UNUSED, "likewise"},
};

/* Words that are no instruction and that it executes. */
static const struct {
    uint32_t mask, match;
    const char *why;
} words[] = {
    {0x1ff0007f, 0x02800007, "loads of whole vector registers, although V is off"},
    {0x1ff0007f, 0x02800027, "and stores"},
};

bool diff_accepted(const struct rv_insn *in)
{
    for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
        if (insns[i].op == in->op &&
            (insns[i].when == ALWAYS || (insns[i].when == RD_IS_0 && !in->rd)))
            return true;
    return false;
}

bool diff_accepted_unused(const struct rv_insn *in)
{
    for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
        if (insns[i].op == in->op && insns[i].when == RESULT_UNUSED)
            return true;
    return false;
}

bool diff_accepted_word(uint32_t word)
{
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        if ((word & words[i].mask) == words[i].match)
            return true;
    return false;
}
