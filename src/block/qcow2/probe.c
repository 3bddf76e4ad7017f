#include "block/impl.h"

#include <string.h>

bool block_qcow2_probe(const uint8_t *head, size_t len)
{
    return len >= 4 && !memcmp(head, "QFI\xfb", 4);
}
