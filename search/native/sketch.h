/* Sketches of vectors: one bit a dimension, by which a product is estimated. */
#ifndef TRIMSEEK_SKETCH_H
#define TRIMSEEK_SKETCH_H

#include <stddef.h>
#include <stdint.h>

/*
 * As indexer/sketches.py makes them. A vector x is mean + r, and r is estimated as slope times
 * scale[i] with the sign of r[i], where slope makes the estimate of r's product with itself true
 * (RaBitQ, Gao & Long 2024, with a scale for each dimension in the place of a rotation).
 *
 * A sketch: ceil(dim / 64) words of signs (a bit is set where r[i] > 0), then four floats: slope;
 * slope times how many bits are set; the product of mean and r; the size of what the estimate
 * leaves out of r, divided by the root of dim. library.py declares the structure as well.
 */
typedef struct {
    const uint8_t *rows;       /* (count, sketch_bytes(dim)); NULL where there are none */
    const float *mean, *scale; /* (dim,) */
    float spread;              /* of errors, as a multiple of what chance would make them */
} Sketches;

enum { SKETCH_PLANES = 4 }; /* bits of a query's weight */

/* A query, with weights of 4 bits: weight i is lowest + step * (bit i of all planes). */
typedef struct {
    uint64_t *planes; /* (SKETCH_PLANES, words), which `sketched` is given */
    int words, bytes;
    float lowest, step, sum; /* `sum`: of all weights */
    float base;              /* the product with mean */
    float spread, rounding;  /* of errors: times a sketch's own, and times its slope */
} SketchedQuery;

/* 64-bit words of a sketch's signs, and the bytes of a whole one: whole cache lines. */
static inline int sketch_words(int dim) { return (dim + 63) / 64; }
static inline int sketch_bytes(int dim) { return (sketch_words(dim) * 8 + 16 + 63) / 64 * 64; }

/* Prepares a query `(dim,)`; `planes` has room for SKETCH_PLANES times the words. */
void sketch_query(const Sketches *sketches, const float *query, int dim, uint64_t *planes,
                  SketchedQuery *sketched);

/*
 * Puts those of `nodes` first whose product with the query may be above `bound`; how many. Some are
 * left out that are just above it, and hardly ever one that is far above it.
 */
int sketch_filter(const Sketches *sketches, const SketchedQuery *query, float bound, int32_t *nodes,
                  int count);

#endif
