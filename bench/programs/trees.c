/* Trees from malloc() and free(): a full binary tree is built, walked and given back, while one
 * long-lived tree stays. The unit is one tree of depth 10, 2,047 nodes. */
#include "bench.h"

#include <stdlib.h>

enum { DEPTH = 10, LONG_DEPTH = 14 };

struct tree {
    struct tree *left, *right;
    uint64_t value;
};

static struct tree *tree_new(int depth, uint64_t value)
{
    struct tree *tree = malloc(sizeof(*tree));
    if (!tree)
        bench_fail("there is no memory");
    tree->value = value;
    tree->left = depth ? tree_new(depth - 1, value * 2) : NULL;
    tree->right = depth ? tree_new(depth - 1, value * 2 + 1) : NULL;
    return tree;
}

static uint64_t tree_sum(const struct tree *tree)
{
    return tree ? tree->value + tree_sum(tree->left) + 3 * tree_sum(tree->right) : 0;
}

static void tree_free(struct tree *tree)
{
    if (tree) {
        tree_free(tree->left);
        tree_free(tree->right);
        free(tree);
    }
}

static uint64_t run(uint64_t count)
{
    uint64_t sum = 1;
    struct tree *stays = tree_new(count < 10 ? DEPTH : LONG_DEPTH, 1);

    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        struct tree *tree = tree_new(DEPTH, i);
        sum = bench_mix(sum, tree_sum(tree));
        tree_free(tree);
    }
    bench_stop();
    sum = bench_mix(sum, tree_sum(stays));
    tree_free(stays);
    return sum;
}

const struct bench_program bench_trees = {"trees", "int", 1, 15000, 1200, 20, run};
