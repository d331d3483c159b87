/* An HNSW graph over vectors of 8 bits, as FAISS keeps it (IndexHNSWSQ). */
#ifndef TRIMSEEK_HNSW_H
#define TRIMSEEK_HNSW_H

#include <stddef.h>
#include <stdint.h>

/* walk.py declares this structure with the same names. */
typedef struct {
    int32_t count, dim;        /* of the vectors */
    int32_t entry_point, max_level;
    const uint8_t *codes;      /* (count, dim) */
    const int32_t *neighbors;  /* of all nodes; -1 fills the places that a node does not need */
    const uint64_t *offsets;   /* (count + 1,): where the neighbors of each node begin */
    const int32_t *levels;     /* (max_level + 2,): where those of each level begin within them */
} HnswGraph;

/* The bytes of HnswGraph, which walk.py checks when it loads the library; 0 unless `which` is 0. */
size_t hnsw_struct_size(int which);

/*
 * Malkov & Yashunin 2018, algorithm 5: greedily from the entry point down to level 0, and there a
 * search that keeps the `ef` best candidates. It ends when the neighbors of all of them have been
 * compared. The score of a node is `weights (dim)` times its code; no such sum exceeds 32 bits.
 *
 * Writes at most `ef` nodes and their scores, best first. Returns how many; -1 when out of memory.
 */
int hnsw_search(const HnswGraph *graph, const int16_t *weights, int ef, int32_t *nodes,
                int32_t *scores);

#endif
