/* Documents for a query: by its vector, or by its vector and its words. */
#ifndef TRIMSEEK_RETRIEVE_H
#define TRIMSEEK_RETRIEVE_H

#include <stddef.h>
#include <stdint.h>

#include "bm25.h"
#include "hnsw.h"

/*
 * Chunks in ascending order of their keys; those of a document follow one another. The four
 * structures of this file and of bm25.h and hnsw.h are declared once more in library.py.
 */
typedef struct {
    int64_t count, counting;  /* chunks, and those of them that count */
    const int64_t *keys, *documents;
    const uint16_t *vectors;  /* (count, dim) float16 */
    const uint8_t *counted;   /* (count,): 0 for chunks that do not count; NULL: all do */
    const HnswGraph *graph;   /* whose nodes they are; NULL: all of them are compared */
} Part;

/* `parts`: one behind another in the order of keys. How deep a list is read: indexer/snapshot.py. */
typedef struct {
    int32_t parts, dim, effort;
    int32_t refine, least;       /* candidates of a graph that are scored again: for each hit, and
                                    at least */
    int32_t block, block_growth; /* chunks that a graph is asked for first, and how it grows */
    int32_t hybrid;              /* whether scores are scaled and summed */
    double weight;               /* of the vector, beside the words */
    const Part *part;
    const float *vector;         /* (dim,) */
    const WordQuery *words;      /* NULL: there are none that tell documents from one another */
} Query;

/* `*_rank`: from 1; 0 where the document was not met in that list. `bm25`: 0 of no words. */
typedef struct {
    int64_t document, chunk; /* its best chunk */
    double score;
    float cosine, bm25;
    int32_t dense_rank, lexical_rank;
} Found;

/*
 * The `wanted` best documents, best first; fewer only if there are fewer. The fewer best are the
 * beginning of the more best. Returns how many; -1 when out of memory.
 */
int retrieve(const Query *query, int wanted, Found *found);

/* As `retrieve` without words, of chunks: the `k` nearest, their keys and scores. */
int retrieve_chunks(const Query *query, int k, int64_t *keys, float *scores);

/* The bytes of Part, Query, Found, HnswGraph, WordBlock and WordQuery. */
size_t retrieve_struct_size(int which);

#endif
