/* Sketches of vectors: one bit a dimension, by which a product is estimated. */
#ifndef TRIMSEEK_SKETCH_H
#define TRIMSEEK_SKETCH_H

#include <stddef.h>
#include <stdint.h>

enum {
    SKETCH_PLANES = 4, /* bits of a query's weight */
    SKETCH_ROUNDS = 4  /* of the rotation */
};

/*
 * As indexer/sketches.py makes them (RaBitQ, Gao & Long 2024), which says what they mean. A sketch:
 * ceil(dim / 64) words of signs (a bit is set where one is positive), then four floats: slope; slope
 * times how many bits are set; the product of mean and r; error. library.py declares the structure
 * as well.
 */
typedef struct {
    const uint8_t *rows; /* (count, sketch_bytes(dim)); NULL where there are none */
    const float *mean;   /* (dim,) */
    const float *flips;  /* (SKETCH_ROUNDS, dim) */
    float spread;
} Sketches;

/* A query, rotated, of 4 bits: its i-th number is lowest + step * (bit i of all planes). */
typedef struct {
    uint64_t *planes; /* (SKETCH_PLANES, words), which `sketch_query` is given */
    int words, bytes;
    float lowest, step, sum; /* `sum`: of all numbers */
    float base;              /* the product with mean */
    float spread, rounding;  /* of errors: times a sketch's own, and times its slope */
} SketchedQuery;

/* 64-bit words of a sketch's signs, and the bytes of a whole one: whole cache lines. */
static inline int sketch_words(int dim) { return (dim + 63) / 64; }
static inline int sketch_bytes(int dim) { return (sketch_words(dim) * 8 + 16 + 63) / 64 * 64; }

/* Prepares a query `(dim,)`; `planes` has room for SKETCH_PLANES times the words, `room` for `dim`
 * floats. */
void sketch_query(const Sketches *sketches, const float *query, int dim, uint64_t *planes,
                  float *room, SketchedQuery *sketched);

/*
 * Puts those of `nodes` first whose product with the query may be above `bound`; how many. Some are
 * left out that are just above it, and hardly ever one that is far above it.
 */
int sketch_filter(const Sketches *sketches, const SketchedQuery *query, float bound, int32_t *nodes,
                  int count);

#endif
