/* SHA-256 (FIPS 180-4) of a buffer of 16 KiB, each time over the digest before. The unit is one
 * digest. */
#include "bench.h"

#include <string.h>

enum { BUFFER = 16384 };

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotated(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

BENCH_OPAQUE static void block(uint32_t state[8], const uint8_t *data)
{
    uint32_t w[64];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 |
               (uint32_t)data[4 * i + 2] << 8 | data[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t high = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
        uint32_t t1 = h + high + ((e & f) ^ (~e & g)) + constants[i] + w[i];
        uint32_t low = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
        uint32_t t2 = low + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

/* A whole message; what is left of it after the last block is below 56 bytes. */
static void digest(const uint8_t *data, size_t length, uint32_t state[8])
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t last[64] = {0};

    memcpy(state, start, sizeof(start));
    for (size_t i = 0; i + 64 <= length; i += 64)
        block(state, data + i);
    memcpy(last, data + length / 64 * 64, length % 64);
    last[length % 64] = 0x80;
    for (int i = 0; i < 8; i++)
        last[56 + i] = (uint8_t)((uint64_t)length * 8 >> (56 - 8 * i));
    block(state, last);
}

static uint64_t run(uint64_t count)
{
    static uint8_t buffer[BUFFER];
    uint32_t state[8];

    digest((const uint8_t *)"abc", 3, state);
    if (state[0] != 0xba7816bf || state[7] != 0xf20015ad)
        bench_fail("the digest of abc is not the standard's");
    for (int i = 0; i < BUFFER; i++)
        buffer[i] = (uint8_t)(i * 7 + i / 256);
    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        digest(buffer, BUFFER, state);
        for (int j = 0; j < 32; j++)
            buffer[j] = (uint8_t)(state[j / 4] >> (24 - 8 * (j % 4)));
    }
    bench_stop();
    return (uint64_t)state[0] << 32 | state[7];
}

const struct bench_program bench_sha256 = {"sha256", "int", 1, 8000, 700, 10, run};
