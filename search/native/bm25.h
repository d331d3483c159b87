/* BM25 scores of documents out of postings; see indexer/words.py. */
#ifndef TRIMSEEK_BM25_H
#define TRIMSEEK_BM25_H

#include <stddef.h>
#include <stdint.h>

/* postings.py declares this structure with the same names. */
typedef struct {
    const uint16_t *places;  /* of documents in their block, for each posting */
    const uint8_t *counts;   /* how often the term comes in the document: a code for its text in
                                the lower five bits, its title in the upper three */
    const float *text_counts; /* (32,): what the codes mean */
    const float *norms;      /* of each document: k1 (1 - b + b length / mean length) */
    float title_weight;      /* how often a word of a title counts */
} Postings;

/* The bytes of Postings, which postings.py checks; 0 unless `which` is 0. */
size_t bm25_struct_size(int which);

/*
 * Adds weight (k1 + 1) tf / (tf + norm) to the score of each document that has a term, for `terms`
 * terms, whose postings are starts[i] to ends[i].
 */
void bm25_add(const Postings *postings, int terms, const uint32_t *starts, const uint32_t *ends,
              const float *weights, float *scores);

/*
 * The places of the `k` best scores above 0, best first, of equal scores the first; of those whose
 * byte in `allowed (count)` is not 0, where it is not NULL. Returns how many there are.
 */
int bm25_top(const float *scores, const uint8_t *allowed, int count, int k, int32_t *places);

#endif
