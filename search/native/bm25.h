/* BM25 over the postings of an index's words (search/words.py says how a score is made). */
#ifndef TRIMSEEK_BM25_H
#define TRIMSEEK_BM25_H

#include <stddef.h>
#include <stdint.h>

/* Postings of at most 65,536 documents; library.py declares this structure with the same names. */
typedef struct {
    int32_t documents;
    const int64_t *chunks;  /* (documents,): the first chunk of each, ascending */
    const uint32_t *starts; /* (terms + 1,): where the postings of each term begin */
    const uint16_t *places; /* documents that have a term, ascending */
    const uint8_t *counts;  /* how often: five bits, a place in `text_counts`, and three for titles */
    const float *norms;     /* (documents,): what a document's length adds below the line */
    const uint8_t *counted; /* (documents,): 0 for documents that do not count; NULL: all do */
    float *impacts;         /* (terms,): the most that a term gives here, less its weight; 0: unknown */
} WordBlock;

/* Which documents of a block have a term, for terms that many have: their postings are then found
 * without a search among them. */
typedef struct {
    uint64_t bits[1024];  /* one for each document */
    uint16_t before[1024]; /* how many documents before each 64 have it */
} Bitmap;

/* The terms of a query, the heaviest first: the order in which their shares are summed. */
typedef struct {
    int32_t blocks, terms;
    float title_weight;
    const WordBlock *block;
    const int32_t *at;       /* (blocks, terms): the place of each term in a block, -1 if none */
    const Bitmap *const *bitmaps; /* (blocks, terms): NULL where there is none */
    const float *weights;    /* (terms,) */
    const float *text_counts;
} WordQuery;

/*
 * The k documents of the largest scores above 0, best first, of equal scores the older one: their
 * first chunks and scores. Documents that cannot be among them are not scored to the end (Turtle &
 * Flood 1995, "max score"). Returns how many; -1 when out of memory.
 */
int bm25_top(const WordQuery *query, int k, int64_t *chunks, float *scores);

/* The scores of documents by their first chunks; 0 for those that do not count or have no term. */
void bm25_scores(const WordQuery *query, int count, const int64_t *chunks, float *scores);

#endif
