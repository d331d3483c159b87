#include "hnsw.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__)
#include <immintrin.h>
#define EVERY_CPU __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define EVERY_CPU
#endif

enum { CACHE_LINE = 64, AHEAD = 6 }; /* vectors that are prefetched before they are compared */
#define EXPANDED 0x80000000u         /* the bit of a candidate whose neighbors were compared */
#define LARGEST_CODE 255

typedef struct {
    int32_t score;
    uint32_t node; /* and EXPANDED */
} Candidate;

/* The `ef` best nodes so far, best first. The worst of them is the radius of the search. */
typedef struct {
    Candidate *candidates;
    int count, ef;
} TopCandidates;

/* A bit for each node: whether it was compared. */
typedef uint64_t Visits;

EVERY_CPU static int32_t product(const uint8_t *code, const int16_t *weights, int dim)
{
    int32_t sum = 0;
    for (int i = 0; i < dim; i++)
        sum += (int16_t)code[i] * weights[i];
    return sum;
}

static int32_t score_of(const HnswGraph *graph, const int16_t *weights, int32_t node)
{
    return product(graph->codes + (size_t)node * graph->dim, weights, graph->dim);
}

static void prefetch(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)from + i);
}

static void prefetch_vector(const HnswGraph *graph, int32_t node)
{
    prefetch(graph->codes + (size_t)node * graph->dim, graph->dim);
}

static const Link *neighbors_of(const HnswGraph *graph, int32_t node, int level, int *count)
{
    *count = graph->levels[level + 1] - graph->levels[level];
    return graph->neighbors + graph->offsets[node] + graph->levels[level];
}

/* The nearest node of the levels above level 0, found greedily. */
static int32_t descend(const HnswGraph *graph, const int16_t *weights)
{
    int32_t closest = graph->entry_point, best_score = score_of(graph, weights, closest);
    for (int level = graph->max_level; level > 0; level--) {
        for (int32_t previous = -1; previous != closest;) {
            int count;
            const Link *neighbors = neighbors_of(graph, closest, level, &count);
            previous = closest;
            for (int i = 0; i < count && neighbors[i].node >= 0; i++)
                prefetch_vector(graph, neighbors[i].node);
            for (int i = 0; i < count && neighbors[i].node >= 0; i++) {
                const int32_t score = score_of(graph, weights, neighbors[i].node);
                if (score > best_score) {
                    best_score = score;
                    closest = neighbors[i].node;
                }
            }
        }
    }
    return closest;
}

/* Inserts a node in order of score. Returns its position, or `ef` if it lies outside the radius. */
static int insert(TopCandidates *top, int32_t score, int32_t node)
{
    int low = 0, high = top->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (top->candidates[middle].score >= score)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == top->ef)
        return low;
    if (top->count < top->ef)
        top->count++;
    Candidate *position = top->candidates + low;
    memmove(position + 1, position, (top->count - low - 1) * sizeof *position);
    *position = (Candidate){score, (uint32_t)node};
    return low;
}

/* Marks a node as visited; whether it was not before. */
static int visit(Visits *visits, int32_t node)
{
    const Visits bit = 1ull << (node & 63);
    const int is_first = !(visits[node >> 6] & bit);
    visits[node >> 6] |= bit;
    return is_first;
}

/* Searches level 0. `unvisited` has room for the neighbors of one node. */
static void search_base(const HnswGraph *graph, const int16_t *weights, TopCandidates *top,
                        Visits *visits, int32_t *unvisited)
{
    const int32_t start = descend(graph, weights);
    visit(visits, start);
    insert(top, score_of(graph, weights, start), start);
    /* Candidates before `next` are all expanded. */
    for (int next = 0; next < top->count;) {
        if (top->candidates[next].node & EXPANDED) {
            next++;
            continue;
        }
        const int32_t node = (int32_t)top->candidates[next].node;
        top->candidates[next].node |= EXPANDED;
        int count, unvisited_count = 0;
        const Link *neighbors = neighbors_of(graph, node, 0, &count);
        for (int i = 0; i < count && neighbors[i].node >= 0; i++) {
            if (visit(visits, neighbors[i].node)) {
                if (unvisited_count < AHEAD)
                    prefetch_vector(graph, neighbors[i].node);
                unvisited[unvisited_count++] = neighbors[i].node;
            }
        }
        for (int i = 0; i < unvisited_count; i++) {
            if (i + AHEAD < unvisited_count)
                prefetch_vector(graph, unvisited[i + AHEAD]);
            const int32_t candidate = unvisited[i];
            const int position = insert(top, score_of(graph, weights, candidate), candidate);
            if (position < top->ef)
                prefetch(graph->neighbors + graph->offsets[candidate], 1);
            if (position < next)
                next = position;
        }
    }
}

/* The query as weights of codes, in steps of which no sum exceeds 32 bits; returns the step. */
static float quantize(const HnswGraph *graph, const float *query, int16_t *weights)
{
    const int by_sum = INT32_MAX / (LARGEST_CODE * graph->dim);
    const float largest = by_sum < INT16_MAX ? by_sum : INT16_MAX;
    float most = 0.0f;
    for (int i = 0; i < graph->dim; i++)
        most = fabsf(query[i] * graph->step[i]) > most ? fabsf(query[i] * graph->step[i]) : most;
    const float step = most > 0.0f ? most / largest : 1.0f;
    for (int i = 0; i < graph->dim; i++)
        weights[i] = (int16_t)lrintf(query[i] * graph->step[i] / step);
    return step;
}

/* The inner product of a query with the vector whose codes are all 0. */
static float product_with_lowest(const HnswGraph *graph, const float *query)
{
    float sum = 0.0f;
    for (int i = 0; i < graph->dim; i++)
        sum += query[i] * graph->lowest[i];
    return sum;
}

int hnsw_search(const HnswGraph *graph, const float *query, int ef, int32_t *nodes, float *scores)
{
    TopCandidates top = {malloc(ef * sizeof(Candidate)), 0, ef};
    Visits *visits = calloc(graph->count / 64 + 1, sizeof *visits);
    int32_t *unvisited = malloc((graph->levels[1] + 1) * sizeof *unvisited);
    int16_t *weights = malloc(graph->dim * sizeof *weights);
    const int has_memory = top.candidates && visits && unvisited && weights;
    if (has_memory) {
        const float step = quantize(graph, query, weights);
        const float lowest = product_with_lowest(graph, query);
        search_base(graph, weights, &top, visits, unvisited);
        for (int i = 0; i < top.count; i++) {
            nodes[i] = (int32_t)(top.candidates[i].node & ~EXPANDED);
            scores[i] = (float)top.candidates[i].score * step + lowest;
        }
    }
    free(weights);
    free(top.candidates);
    free(visits);
    free(unvisited);
    return has_memory ? top.count : -1;
}
