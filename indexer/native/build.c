#include "build.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "every_cpu.h"
#include "nearest.h"

enum {
    MOST_LEVELS = 32,
    MOST_THREADS = 256,
    BATCH_SHARE = 128,   /* of the nodes that are inserted, one in so many comes next at once */
    LARGEST_BATCH = 512,
    AHEAD = 8            /* vectors that are prefetched before they are compared */
};

/*
 * The nodes of a level, in rows. A row has room for a quarter more neighbors than a node may keep:
 * so the worst of them are not looked for with each new one.
 */
typedef struct {
    int32_t rows, most, room;
    int32_t *row;       /* (count,): that of each node; NULL on level 0, where it is the node */
    int32_t *neighbors; /* (rows, room) */
    uint16_t *degree;   /* (rows,) */
} Level;

/* A neighbor that a new node has chosen, which is to have the new one as a neighbor too. */
typedef struct {
    int32_t level, to, from;
    float score;
} Link;

/* What a thread needs. */
typedef struct {
    Nearest nearest;
    Visits *visits;
    int32_t *met;       /* neighbors of one node */
    float *query, *rotated;
    uint64_t *planes;
    SketchedQuery sketched;
    Candidate *links;   /* that a node has, and is to have */
    size_t links_room;
} Worker;

struct GraphBuilder {
    GraphSpec spec;
    Level levels[MOST_LEVELS];
    int32_t depth;      /* levels */
    int32_t inserted;
    Worker *workers;
    /* of a batch: what each node chose on each level, and how many */
    Candidate *chosen;  /* (batch, depth, widest) */
    int32_t *chosen_count; /* (batch, depth) */
    Link *links;
    int32_t widest;
};

/* ---- work shared by threads ------------------------------------------------------------------ */

typedef struct {
    GraphBuilder *builder;
    void (*item)(GraphBuilder *, Worker *, int32_t number, void *context);
    void *context;
    int32_t count;
    _Atomic int32_t next;
} Share;

typedef struct {
    Share *share;
    Worker *worker;
} Member;

static void *take_items(void *argument)
{
    const Member *member = argument;
    Share *share = member->share;
    int32_t number;
    while ((number = atomic_fetch_add(&share->next, 1)) < share->count)
        share->item(share->builder, member->worker, number, share->context);
    return NULL;
}

/* Calls `item` for each number below `count`, in several threads. */
static void share_out(GraphBuilder *builder, int32_t count, void *context,
                      void (*item)(GraphBuilder *, Worker *, int32_t, void *))
{
    Share share = {builder, item, context, count, 0};
    pthread_t threads[MOST_THREADS];
    Member members[MOST_THREADS];
    int started = 0;
    for (int i = 1; i < builder->spec.threads && i < count; i++) {
        members[i] = (Member){&share, builder->workers + i};
        if (pthread_create(threads + started, NULL, take_items, members + i))
            break;
        started++;
    }
    members[0] = (Member){&share, builder->workers};
    take_items(members);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* ---- vectors -------------------------------------------------------------------------------- */

EVERY_CPU static int32_t product(const int8_t *a, const int8_t *b, int dim)
{
    int32_t sum = 0;
    for (int i = 0; i < dim; i++)
        sum += (int16_t)a[i] * (int16_t)b[i];
    return sum;
}

static const int8_t *vector_of(const GraphSpec *spec, int32_t node)
{
    return spec->vectors + (size_t)node * spec->dim;
}

/* The product of two nodes' vectors. */
static float score_of(const GraphSpec *spec, int32_t a, int32_t b)
{
    const int32_t differences = product(vector_of(spec, a), vector_of(spec, b), spec->dim);
    return (float)differences * (spec->scales[a] * spec->scales[b]) +
           (spec->shares[a] + spec->shares[b]);
}

static void prefetch_vector(const GraphSpec *spec, int32_t node)
{
    prefetch(vector_of(spec, node), spec->dim);
}

/* ---- walking ---------------------------------------------------------------------------------- */

static int32_t row_of(const Level *level, int32_t node)
{
    return level->row ? level->row[node] : node;
}

/* Where the neighbors of a row begin. */
static int32_t *neighbors_in(const Level *level, int32_t row)
{
    return level->neighbors + (size_t)row * level->room;
}

static const int32_t *neighbors_of(const Level *level, int32_t node, int *count)
{
    const int32_t row = row_of(level, node);
    *count = level->degree[row];
    return neighbors_in(level, row);
}

/* The node of a level that is nearest to another, found greedily from a first one. */
static int32_t descend(const GraphSpec *spec, const Level *level, int32_t node, int32_t closest)
{
    float best = score_of(spec, node, closest);
    for (int32_t previous = -1; previous != closest;) {
        int count;
        const int32_t *neighbors = neighbors_of(level, closest, &count);
        previous = closest;
        for (int i = 0; i < count; i++) {
            const float score = score_of(spec, node, neighbors[i]);
            if (score > best) {
                best = score;
                closest = neighbors[i];
            }
        }
    }
    return closest;
}

static void prefetch_neighbors(const Level *level, int32_t node)
{
    int count;
    const int32_t *neighbors = neighbors_of(level, node, &count);
    prefetch(neighbors, count * sizeof *neighbors);
}

/* Finds the nearest nodes of a level, from the one that is the nearest on the level above. */
static void walk(const GraphSpec *spec, const Level *level, int32_t node, int32_t start,
                 Worker *worker)
{
    Nearest *nearest = &worker->nearest;
    const Sketches *sketches = &spec->sketches;
    memset(worker->visits, 0, (spec->count / 64 + 1) * sizeof(Visits));
    nearest->count = 0;
    visit(worker->visits, start);
    insert_nearest(nearest, score_of(spec, node, start), start);
    for (int next = 0; next < nearest->count;) { /* those before `next` are all expanded */
        if (nearest->candidates[next].node & EXPANDED) {
            next++;
            continue;
        }
        int links, count = 0;
        const int32_t *neighbors =
            neighbors_of(level, (int32_t)nearest->candidates[next].node, &links);
        nearest->candidates[next].node |= EXPANDED;
        const int32_t soon = next_to_expand(nearest, next);
        if (soon >= 0)
            prefetch_neighbors(level, soon);
        for (int i = 0; i < links; i++) {
            prefetch(sketches->rows + (size_t)neighbors[i] * worker->sketched.bytes,
                     worker->sketched.bytes);
            worker->met[count] = neighbors[i];
            count += visit(worker->visits, neighbors[i]);
        }
        if (nearest->count == nearest->most)
            count = sketch_filter(sketches, &worker->sketched,
                                  nearest->candidates[nearest->most - 1].score, worker->met, count);
        for (int i = 0; i < count && i < AHEAD; i++)
            prefetch_vector(spec, worker->met[i]);
        for (int i = 0; i < count; i++) {
            if (i + AHEAD < count)
                prefetch_vector(spec, worker->met[i + AHEAD]);
            const int32_t met = worker->met[i];
            const int place = insert_nearest(nearest, score_of(spec, node, met), met);
            if (place < next)
                next = place;
        }
    }
}

/* ---- choosing --------------------------------------------------------------------------------- */

static int nearer_first(const void *a, const void *b)
{
    const Candidate *one = a, *other = b;
    if (one->score != other->score)
        return one->score < other->score ? 1 : -1;
    return one->node < other->node ? -1 : one->node > other->node;
}

/*
 * Chooses at most `most` of candidates, nearest first (algorithm 4 of the paper): those that are
 * nearer to the node than to any that was chosen before. Puts them in front; how many.
 */
static int choose(const GraphSpec *spec, Candidate *candidates, int count, int most)
{
    int chosen = 0;
    for (int i = 0; i < count && chosen < most; i++) {
        int is_near = 1;
        for (int j = 0; j < chosen && is_near; j++)
            is_near = score_of(spec, node_of(candidates[i]), node_of(candidates[j])) <=
                      candidates[i].score;
        if (is_near)
            candidates[chosen++] = candidates[i];
    }
    return chosen;
}

/* The first step of a batch: a node looks for its neighbors. */
static void look_for_neighbors(GraphBuilder *builder, Worker *worker, int32_t number, void *unused)
{
    (void)unused;
    const GraphSpec *spec = &builder->spec;
    const int32_t node = spec->order[builder->inserted + number];
    const int8_t *vector = vector_of(spec, node);
    for (int i = 0; i < spec->dim; i++)
        worker->query[i] = spec->sketches.mean[i] + spec->scales[node] * (float)vector[i];
    sketch_query(&spec->sketches, worker->query, spec->dim, worker->planes, worker->rotated,
                 &worker->sketched);
    int32_t closest = spec->order[0];
    for (int l = builder->depth - 1; l >= spec->depths[node]; l--)
        closest = descend(spec, builder->levels + l, node, closest);
    for (int l = spec->depths[node] - 1; l >= 0; l--) {
        const Level *level = builder->levels + l;
        walk(spec, level, node, closest, worker);
        closest = node_of(worker->nearest.candidates[0]);
        const int count =
            choose(spec, worker->nearest.candidates, worker->nearest.count, level->most);
        const size_t place = (size_t)number * builder->depth + l;
        builder->chosen_count[place] = count;
        memcpy(builder->chosen + place * builder->widest, worker->nearest.candidates,
               count * sizeof(Candidate));
    }
}

/* ---- linking ---------------------------------------------------------------------------------- */

static int by_target(const void *a, const void *b)
{
    const Link *one = a, *other = b;
    if (one->level != other->level)
        return one->level - other->level;
    if (one->to != other->to)
        return one->to < other->to ? -1 : 1;
    return one->from < other->from ? -1 : one->from > other->from;
}

/* Keeps the best of a row's neighbors and of others; `candidates` has room for all. */
static void keep_best(const GraphBuilder *builder, Level *level, int32_t node,
                      Candidate *candidates, int others)
{
    const GraphSpec *spec = &builder->spec;
    const int32_t row = row_of(level, node);
    int32_t *neighbors = neighbors_in(level, row);
    int count = others;
    for (int i = 0; i < level->degree[row]; i++)
        candidates[count++] =
            (Candidate){score_of(spec, node, neighbors[i]), (uint32_t)neighbors[i]};
    qsort(candidates, count, sizeof *candidates, nearer_first);
    count = choose(spec, candidates, count, level->most);
    for (int i = 0; i < count; i++)
        neighbors[i] = node_of(candidates[i]);
    level->degree[row] = (uint16_t)count;
}

/* Links of one node on one level: from `first` on, as many as have the same target. */
typedef struct {
    int32_t first, count;
} Group;

typedef struct {
    const Group *groups;
    _Atomic int failed;
} Linking;

/* The second step of a batch: a node gets the new ones that chose it as neighbors. */
static void link_back(GraphBuilder *builder, Worker *worker, int32_t number, void *context)
{
    Linking *linking = context;
    const Group group = linking->groups[number];
    const Link *links = builder->links + group.first;
    Level *level = builder->levels + links->level;
    const int32_t row = row_of(level, links->to);
    if (level->degree[row] + group.count <= level->room) {
        int32_t *end = neighbors_in(level, row) + level->degree[row];
        for (int i = 0; i < group.count; i++)
            end[i] = links[i].from;
        level->degree[row] += (uint16_t)group.count;
        return;
    }
    const size_t needed = (size_t)level->room + group.count;
    if (needed > worker->links_room) {
        Candidate *larger = realloc(worker->links, needed * sizeof *larger);
        if (!larger) {
            linking->failed = 1;
            return;
        }
        worker->links = larger;
        worker->links_room = needed;
    }
    for (int i = 0; i < group.count; i++)
        worker->links[i] = (Candidate){links[i].score, (uint32_t)links[i].from};
    keep_best(builder, level, links->to, worker->links, group.count);
}

/* Writes what the nodes of a batch chose, and notes the links back; how many. */
static int32_t link_forward(GraphBuilder *builder, int32_t batch)
{
    int32_t noted = 0;
    for (int32_t number = 0; number < batch; number++) {
        const int32_t node = builder->spec.order[builder->inserted + number];
        for (int l = 0; l < builder->spec.depths[node]; l++) {
            Level *level = builder->levels + l;
            const size_t place = (size_t)number * builder->depth + l;
            const Candidate *chosen = builder->chosen + place * builder->widest;
            const int32_t row = row_of(level, node);
            int32_t *neighbors = neighbors_in(level, row);
            const int32_t count = builder->chosen_count[place];
            for (int i = 0; i < count; i++) {
                neighbors[i] = node_of(chosen[i]);
                builder->links[noted++] = (Link){l, neighbors[i], node, chosen[i].score};
            }
            level->degree[row] = (uint16_t)count;
        }
    }
    return noted;
}

/* ---- the whole -------------------------------------------------------------------------------- */

/* How many nodes come next at once where so many are inserted. */
static int32_t batch_after(int32_t inserted)
{
    const int32_t batch = inserted / BATCH_SHARE;
    return batch < 1 ? 1 : batch > LARGEST_BATCH ? LARGEST_BATCH : batch;
}

static int32_t next_batch(const GraphBuilder *builder)
{
    const int32_t batch = batch_after(builder->inserted);
    const int32_t left = builder->spec.count - builder->inserted;
    return batch < left ? batch : left;
}

int32_t graph_builder_add(GraphBuilder *builder)
{
    const int32_t batch = next_batch(builder);
    if (!builder->inserted) { /* the first node has no neighbors yet */
        builder->inserted = 1;
        return 1;
    }
    share_out(builder, batch, NULL, look_for_neighbors);
    const int32_t noted = link_forward(builder, batch);
    qsort(builder->links, noted, sizeof *builder->links, by_target);
    Group *groups = malloc(((size_t)noted + 1) * sizeof *groups);
    if (!groups)
        return -1;
    int32_t count = 0;
    for (int32_t i = 0; i < noted; i++) {
        const Link *link = builder->links + i;
        if (i && link->to == link[-1].to && link->level == link[-1].level)
            groups[count - 1].count++;
        else
            groups[count++] = (Group){i, 1};
    }
    Linking linking = {groups, 0};
    share_out(builder, count, &linking, link_back);
    free(groups);
    if (linking.failed)
        return -1;
    builder->inserted += batch;
    return builder->inserted;
}

/* A node keeps as many neighbors as it may have in the end. */
static void finish_node(GraphBuilder *builder, Worker *worker, int32_t node, void *unused)
{
    (void)unused;
    for (int l = 0; l < builder->spec.depths[node]; l++) {
        Level *level = builder->levels + l;
        const int32_t row = row_of(level, node);
        if (level->degree[row] > level->most)
            keep_best(builder, level, node, worker->links, 0);
    }
}

/* Notes for each node that can be reached from a new one which node leads to it. */
static void reach_from(const GraphBuilder *builder, int32_t node, int32_t *leading, int32_t *queue)
{
    int32_t end = 0;
    queue[end++] = node;
    for (int32_t next = 0; next < end; next++) {
        int count;
        const int32_t *neighbors = neighbors_of(builder->levels, queue[next], &count);
        for (int i = 0; i < count; i++)
            if (leading[neighbors[i]] < 0) {
                leading[neighbors[i]] = queue[next];
                queue[end++] = neighbors[i];
            }
    }
}

/* Makes a node lead to another: in a free place, or in that of one to which another leads. Whether
 * there was any. */
static int lead_to(GraphBuilder *builder, int32_t from, int32_t to, int32_t *leading)
{
    Level *level = builder->levels;
    int32_t *neighbors = neighbors_in(level, from);
    int place = level->degree[from];
    if (place < level->most)
        level->degree[from]++;
    else
        do
            place--;
        while (place >= 0 && leading[neighbors[place]] == from);
    if (place < 0)
        return 0;
    neighbors[place] = to;
    leading[to] = from;
    return 1;
}

/*
 * Makes a walk on level 0 come to every node: to those too that nobody keeps as a neighbor, as of
 * many equal vectors some are. Whether there was memory.
 */
static int reach_all(GraphBuilder *builder)
{
    const GraphSpec *spec = &builder->spec;
    int32_t *leading = malloc(spec->count * sizeof *leading); /* to each node; -1: none yet */
    int32_t *queue = malloc(spec->count * sizeof *queue);
    const int has_memory = leading && queue;
    if (has_memory) {
        memset(leading, 0xff, spec->count * sizeof *leading);
        leading[spec->order[0]] = spec->order[0];
        reach_from(builder, spec->order[0], leading, queue);
    }
    for (int32_t i = 0; has_memory && i < spec->count; i++) {
        const int32_t node = spec->order[i];
        if (leading[node] >= 0)
            continue;
        int count, is_led_to = 0;
        const int32_t *neighbors = neighbors_of(builder->levels, node, &count);
        for (int j = 0; j < count && !is_led_to; j++)
            is_led_to = leading[neighbors[j]] >= 0 &&
                        lead_to(builder, neighbors[j], node, leading);
        for (int32_t j = 0; j < i && !is_led_to; j++)
            is_led_to = lead_to(builder, spec->order[j], node, leading);
        reach_from(builder, node, leading, queue);
    }
    free(leading);
    free(queue);
    return has_memory;
}

int graph_builder_write(GraphBuilder *builder, const uint64_t *offsets, int32_t *neighbors)
{
    const GraphSpec *spec = &builder->spec;
    share_out(builder, spec->count, NULL, finish_node);
    if (!reach_all(builder))
        return -1;
    for (int32_t node = 0; node < spec->count; node++) {
        int32_t *to = neighbors + offsets[node];
        for (int l = 0; l < spec->depths[node]; l++) {
            int count;
            const Level *level = builder->levels + l;
            const int32_t *from = neighbors_of(level, node, &count);
            memcpy(to, from, count * sizeof *to);
            for (int i = count; i < level->most; i++)
                to[i] = -1;
            to += level->most;
        }
    }
    return 0;
}

/* The neighbors that a row has room for, of a node that may keep so many. */
static int32_t room_for(int32_t most) { return most + most / 4; }

static int new_level(GraphBuilder *builder, int l)
{
    const GraphSpec *spec = &builder->spec;
    Level *level = builder->levels + l;
    level->most = l ? spec->most_above : spec->most;
    level->room = room_for(level->most);
    level->rows = spec->count;
    if (l) {
        level->row = malloc(spec->count * sizeof *level->row);
        if (!level->row)
            return 0;
        level->rows = 0;
        for (int32_t node = 0; node < spec->count; node++)
            level->row[node] = spec->depths[node] > l ? level->rows++ : -1;
    }
    level->neighbors = malloc(((size_t)level->rows * level->room + 1) * sizeof *level->neighbors);
    level->degree = calloc(level->rows + 1, sizeof *level->degree);
    return level->neighbors && level->degree;
}

static int new_worker(const GraphBuilder *builder, Worker *worker)
{
    const GraphSpec *spec = &builder->spec;
    const int room = room_for(builder->widest);
    worker->nearest.most = spec->effort;
    worker->nearest.candidates = malloc(spec->effort * sizeof(Candidate));
    worker->visits = malloc((spec->count / 64 + 1) * sizeof *worker->visits);
    worker->met = malloc((room + 1) * sizeof *worker->met);
    worker->query = malloc(spec->dim * sizeof *worker->query);
    worker->rotated = malloc(spec->dim * sizeof *worker->rotated);
    worker->planes = malloc(SKETCH_PLANES * sketch_words(spec->dim) * sizeof *worker->planes);
    worker->links_room = room;
    worker->links = malloc(room * sizeof *worker->links);
    return worker->nearest.candidates && worker->visits && worker->met && worker->query &&
           worker->rotated && worker->planes && worker->links;
}

GraphBuilder *graph_builder_new(const GraphSpec *spec)
{
    GraphBuilder *builder = calloc(1, sizeof *builder);
    if (!builder)
        return NULL;
    builder->spec = *spec;
    if (builder->spec.threads > MOST_THREADS)
        builder->spec.threads = MOST_THREADS;
    builder->depth = spec->depths[spec->order[0]];
    builder->widest = spec->most > spec->most_above ? spec->most : spec->most_above;
    int failed = builder->depth > MOST_LEVELS;
    for (int l = 0; !failed && l < builder->depth; l++)
        failed |= !new_level(builder, l);
    const int32_t batch = batch_after(spec->count);
    const size_t places = (size_t)batch * builder->depth;
    builder->chosen = malloc(places * builder->widest * sizeof *builder->chosen);
    builder->chosen_count = calloc(places, sizeof *builder->chosen_count);
    builder->links = malloc(places * builder->widest * sizeof *builder->links);
    builder->workers = calloc(builder->spec.threads, sizeof *builder->workers);
    failed |= !builder->chosen || !builder->chosen_count || !builder->links || !builder->workers;
    for (int i = 0; !failed && i < builder->spec.threads; i++)
        failed |= !new_worker(builder, builder->workers + i);
    if (!failed)
        return builder;
    graph_builder_free(builder);
    return NULL;
}

void graph_builder_free(GraphBuilder *builder)
{
    for (int l = 0; l < MOST_LEVELS; l++) {
        free(builder->levels[l].row);
        free(builder->levels[l].neighbors);
        free(builder->levels[l].degree);
    }
    for (int i = 0; builder->workers && i < builder->spec.threads; i++) {
        Worker *worker = builder->workers + i;
        free(worker->nearest.candidates);
        free(worker->visits);
        free(worker->met);
        free(worker->query);
        free(worker->rotated);
        free(worker->planes);
        free(worker->links);
    }
    free(builder->workers);
    free(builder->chosen);
    free(builder->chosen_count);
    free(builder->links);
    free(builder);
}

size_t graph_builder_struct_size(int which)
{
    static const size_t sizes[] = {sizeof(GraphSpec), sizeof(Sketches)};
    return which >= 0 && which < 2 ? sizes[which] : 0;
}
