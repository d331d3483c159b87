/* A graph of neighbours over vectors of 8 bits, as FAISS keeps it (IndexHNSWSQ). */
#ifndef TRIMSEEK_GRAPH_H
#define TRIMSEEK_GRAPH_H

#include <stdint.h>

typedef struct {
    int32_t vectors, dim, entry, top;
    const uint8_t *codes;      /* (vectors, dim) */
    const int32_t *neighbours; /* of all nodes; -1 where there are no more */
    const uint64_t *offsets;   /* of each node: where its neighbours begin */
    const int32_t *levels;     /* of a node's neighbours: where each level's begin, (top + 2) */
} Graph;

/*
 * Malkov & Yashunin 2018: from the entry greedily down to level 0, where the walk keeps the
 * `effort` best nodes that it has seen, and ends when it has been to all of them. `weights (dim)`
 * times a vector's code is its score; no sum of products exceeds 32 bits.
 *
 * Nodes go to `found (effort)`, best first, and their scores to `scores`. Returns how many, or -1
 * when out of memory.
 */
int graph_search(const Graph *graph, const int16_t *weights, int effort, int32_t *found,
                 int32_t *scores);

#endif
