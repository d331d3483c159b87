#include "hnsw.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "every_cpu.h"
#include "nearest.h"

enum {
    AHEAD = 6, /* vectors that are prefetched before they are compared */
    SOON = 8   /* candidates, from the one that is expanded, whose neighbors are prefetched */
};
#define LARGEST_CODE 255

typedef struct {
    const HnswGraph *graph;
    int16_t *weights;    /* of codes */
    float step, lowest;  /* a product is lowest + step * the sum of weighted codes */
    SketchedQuery sketched;
    Nearest top;
    Visits *visits;
    int32_t *unvisited;  /* neighbors of one node */
} Walk;

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

static void prefetch_neighbors(const HnswGraph *graph, int32_t node)
{
    prefetch(graph->neighbors + graph->offsets[node], graph->levels[1] * sizeof(Link));
}

/* Collects the neighbors of a node that were not met before; how many. */
static int meet(Walk *walk, int32_t node)
{
    const HnswGraph *graph = walk->graph;
    const Sketches *sketches = &graph->sketches;
    int links, count = 0;
    const Link *neighbors = neighbors_of(graph, node, 0, &links);
    for (int i = 0; i < links && neighbors[i].node >= 0; i++) {
        const int32_t neighbor = neighbors[i].node;
        if (sketches->rows)
            prefetch(sketches->rows + (size_t)neighbor * walk->sketched.bytes,
                     walk->sketched.bytes);
        else if (count < AHEAD)
            prefetch_vector(graph, neighbor);
        walk->unvisited[count] = neighbor; /* without a branch that nobody can foretell */
        count += visit(walk->visits, neighbor);
    }
    return count;
}

/* Leaves out those that are not among the best by their sketches; how many are left. */
static int leave_out(Walk *walk, int count)
{
    const Nearest *top = &walk->top;
    if (!walk->graph->sketches.rows || top->count < top->most)
        return count;
    const float radius = top->candidates[top->most - 1].score * walk->step + walk->lowest;
    count = sketch_filter(&walk->graph->sketches, &walk->sketched, radius, walk->unvisited, count);
    for (int i = 0; i < count; i++) {
        __builtin_prefetch(walk->graph->offsets + walk->unvisited[i]);
        if (i < AHEAD)
            prefetch_vector(walk->graph, walk->unvisited[i]);
    }
    return count;
}

/* Searches level 0. */
static void search_base(Walk *walk)
{
    const HnswGraph *graph = walk->graph;
    Nearest *top = &walk->top;
    const int32_t start = descend(graph, walk->weights);
    visit(walk->visits, start);
    insert_nearest(top, (float)score_of(graph, walk->weights, start), start);
    /* Candidates before `next` are all expanded. */
    for (int next = 0; next < top->count;) {
        if (top->candidates[next].node & EXPANDED) {
            next++;
            continue;
        }
        const int32_t node = (int32_t)top->candidates[next].node;
        top->candidates[next].node |= EXPANDED;
        const int32_t soon = next_to_expand(top, next);
        if (soon >= 0)
            prefetch_neighbors(graph, soon);
        const int count = leave_out(walk, meet(walk, node));
        for (int i = 0; i < count; i++) {
            if (i + AHEAD < count)
                prefetch_vector(graph, walk->unvisited[i + AHEAD]);
            const int32_t candidate = walk->unvisited[i];
            const int position =
                insert_nearest(top, (float)score_of(graph, walk->weights, candidate), candidate);
            if (position < next + SOON)
                prefetch_neighbors(graph, candidate);
            if (position < next)
                next = position;
        }
    }
}

/* Sets the query as weights of codes, in steps of which no sum exceeds 32 bits. */
static void quantize(Walk *walk, const float *query)
{
    const HnswGraph *graph = walk->graph;
    const int by_sum = INT32_MAX / (LARGEST_CODE * graph->dim);
    const float largest = by_sum < INT16_MAX ? by_sum : INT16_MAX;
    float most = 0.0f;
    walk->lowest = 0.0f;
    for (int i = 0; i < graph->dim; i++) {
        most = fabsf(query[i] * graph->step[i]) > most ? fabsf(query[i] * graph->step[i]) : most;
        walk->lowest += query[i] * graph->lowest[i];
    }
    walk->step = most > 0.0f ? most / largest : 1.0f;
    for (int i = 0; i < graph->dim; i++)
        walk->weights[i] = (int16_t)lrintf(query[i] * graph->step[i] / walk->step);
}

int hnsw_search(const HnswGraph *graph, const float *query, int ef, int32_t *nodes, float *scores)
{
    Walk walk = {.graph = graph, .top = {malloc(ef * sizeof(Candidate)), 0, ef}};
    const size_t planes = SKETCH_PLANES * sketch_words(graph->dim);
    uint64_t *room = malloc(planes * sizeof *room);
    float *rotated = malloc(graph->dim * sizeof *rotated);
    walk.visits = calloc(graph->count / 64 + 1, sizeof *walk.visits);
    walk.unvisited = malloc((graph->levels[1] + 1) * sizeof *walk.unvisited);
    walk.weights = malloc(graph->dim * sizeof *walk.weights);
    const int has_memory =
        walk.top.candidates && room && rotated && walk.visits && walk.unvisited && walk.weights;
    if (has_memory) {
        quantize(&walk, query);
        if (graph->sketches.rows)
            sketch_query(&graph->sketches, query, graph->dim, room, rotated, &walk.sketched);
        search_base(&walk);
        for (int i = 0; i < walk.top.count; i++) {
            nodes[i] = node_of(walk.top.candidates[i]);
            scores[i] = walk.top.candidates[i].score * walk.step + walk.lowest;
        }
    }
    free(walk.weights);
    free(walk.top.candidates);
    free(walk.visits);
    free(walk.unvisited);
    free(room);
    free(rotated);
    return has_memory ? walk.top.count : -1;
}
