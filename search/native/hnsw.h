/* An HNSW graph over vectors of 8 bits, as FAISS keeps it (IndexHNSWSQ). */
#ifndef TRIMSEEK_HNSW_H
#define TRIMSEEK_HNSW_H

#include <stddef.h>
#include <stdint.h>

#include "sketch.h"

/* A neighbor, anywhere in memory: the file that is mapped does not align them. */
typedef struct __attribute__((packed)) {
    int32_t node;
} Link;

/* library.py declares this structure with the same names. */
typedef struct {
    int32_t count, dim;        /* of the vectors */
    int32_t entry_point, max_level;
    const uint8_t *codes;      /* (count, dim): a value lies in the middle of its step */
    const float *lowest, *step; /* (dim,): the middle of step 0, and how large a step is */
    const Link *neighbors;     /* of all nodes; -1 fills the places that a node does not need */
    const uint64_t *offsets;   /* (count + 1,): where the neighbors of each node begin */
    const int32_t *levels;     /* (max_level + 2,): where those of each level begin within them */
    Sketches sketches;         /* of the vectors */
} HnswGraph;

/*
 * Malkov & Yashunin 2018, algorithm 5: greedily from the entry point down to level 0, and there a
 * search that keeps the `ef` best candidates. It ends when the neighbors of all of them have been
 * compared. A score is the inner product of `query (dim,)` with a node's vector, in 16-bit steps of
 * the query. Where there are sketches, a node is only compared if it may be among the best by its
 * sketch: that is one cache line in the place of many.
 *
 * Writes at most `ef` nodes and their scores, best first. Returns how many; -1 when out of memory.
 */
int hnsw_search(const HnswGraph *graph, const float *query, int ef, int32_t *nodes, float *scores);

#endif
