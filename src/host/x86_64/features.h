/*
 * What the host's processor can do beyond x86-64's first version, asked once and passed along.
 */
#pragma once

#include <stdbool.h>

struct host_features {
    bool cx16;   /* cmpxchg16b */
    bool sse41;  /* roundss, pcmpeqq */
    bool pclmul; /* pclmulqdq */
    bool popcnt;
    bool lzcnt;
    bool bmi1;      /* andn, tzcnt, blsr, bextr */
    bool bmi2;      /* shlx, rorx, mulx, bzhi, pdep */
    bool avx;       /* the VEX variants of SSE; the operating system saves the registers */
    bool fma;       /* implies avx */
    bool fast_pdep; /* pdep and pext are not microcode */
};

/* Fills *f from CPUID. Always succeeds. */
void host_features_probe(struct host_features *f);
