/* The translations that processes share. */
#pragma once

#include "store/store.h"

/* As the environment says: GUISE_CACHE_SIZE, and what store.h reads. NULL: none, *err says why. */
struct store *cache_open(struct error *err);
