/* Builds an HNSW graph (Malkov & Yashunin 2018) of many vectors at once. */
#ifndef TRIMSEEK_BUILD_H
#define TRIMSEEK_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "sketch.h"

/*
 * What a graph is built of, and how; graph_builder.py declares this structure with the same names.
 * The caller keeps the arrays until the builder is freed.
 */
typedef struct {
    int32_t count, dim;
    int32_t effort;          /* candidates of a walk */
    int32_t threads;
    int32_t most, most_above; /* neighbors of a node on level 0, and on each level above */
    const int8_t *vectors;   /* (count, dim): times its scale, what a vector differs by from the */
    const float *scales;     /* (count,)      mean of the sketches */
    const float *shares;     /* (count,): the product of two vectors is the sum of their shares and
                                the product of what they differ by */
    const int32_t *depths;   /* (count,): how many levels each node is in, from 1 */
    const int32_t *order;    /* (count,): in which nodes are inserted; no other is deeper than the
                                first */
    Sketches sketches;       /* of the vectors */
} GraphSpec;

typedef struct GraphBuilder GraphBuilder;

/* NULL when out of memory. */
GraphBuilder *graph_builder_new(const GraphSpec *spec);
void graph_builder_free(GraphBuilder *builder);

/*
 * Inserts the next batch of nodes: all of them look for their neighbors in the graph as it is, then
 * they are linked (as in ParlayANN, Dobson et al. 2023). So the graph does not depend on how many
 * threads there are. Returns how many nodes are inserted now; -1 when out of memory.
 */
int32_t graph_builder_add(GraphBuilder *builder);

/*
 * Writes the graph, when all nodes are inserted and each can be reached, as FAISS keeps it: the neighbors of node i begin at
 * offsets[i], those of level 0 first; -1 fills the places that it does not need. Returns 0; -1 when
 * out of memory.
 */
int graph_builder_write(GraphBuilder *builder, const uint64_t *offsets, int32_t *neighbors);

/* The bytes of GraphSpec and Sketches. */
size_t graph_builder_struct_size(int which);

#endif
