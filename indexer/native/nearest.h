/* The nearest nodes that a walk of a graph has met, best first. */
#ifndef TRIMSEEK_NEAREST_H
#define TRIMSEEK_NEAREST_H

#include <stdint.h>
#include <string.h>

#define EXPANDED 0x80000000u /* the bit of a node whose neighbors were met */

typedef struct {
    float score;
    uint32_t node; /* and EXPANDED */
} Candidate;

/* The `most` best nodes so far, best first. The worst of them is the radius of the search. */
typedef struct {
    Candidate *candidates;
    int count, most;
} Nearest;

static inline int32_t node_of(Candidate candidate) { return (int32_t)(candidate.node & ~EXPANDED); }

/* Inserts a node in order of score. Returns its place, or `most` if it lies outside the radius. */
static inline int insert_nearest(Nearest *nearest, float score, int32_t node)
{
    int low = 0, high = nearest->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (nearest->candidates[middle].score >= score)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == nearest->most)
        return low;
    if (nearest->count < nearest->most)
        nearest->count++;
    Candidate *place = nearest->candidates + low;
    memmove(place + 1, place, (nearest->count - low - 1) * sizeof *place);
    *place = (Candidate){score, (uint32_t)node};
    return low;
}

enum { NEXT = 3 }; /* candidates among which the one is that is probably expanded next */

/* The node that is expanded next unless a nearer one comes; -1 if it is not among the next ones. */
static inline int32_t next_to_expand(const Nearest *nearest, int expanded)
{
    for (int i = expanded + 1; i < nearest->count && i <= expanded + NEXT; i++)
        if (!(nearest->candidates[i].node & EXPANDED))
            return node_of(nearest->candidates[i]);
    return -1;
}

/* A bit for each node: whether it was met. */
typedef uint64_t Visits;

/* Marks a node as met; whether it was not before. */
static inline int visit(Visits *visits, int32_t node)
{
    const Visits bit = 1ull << (node & 63);
    const int is_first = !(visits[node >> 6] & bit);
    visits[node >> 6] |= bit;
    return is_first;
}

enum { CACHE_LINE = 64 };

static inline void prefetch(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)from + i);
}

#endif
