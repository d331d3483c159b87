#include "retrieve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "float16.h"
#include "keys.h"

enum {
    FIRST_DEPTH = 64, /* documents of each list, in the first stage of hybrid search */
    DEPTH_GROWTH = 4,
    MOST_DEPTH = 32000,
    WIDER = 4,  /* times the effort, where a walk finds too little */
    AHEAD = 4,  /* vectors that are fetched before they are compared */
    /* A walk costs about as much as this many comparisons for each unit of its effort. */
    COMPARISONS = 32,
};
static const double LEAST_COSINE = -1.0;

/* ---- memory of a search ------------------------------------------------------------------- */

typedef struct Room {
    struct Room *next;
} Room;

/* Adds memory that is freed with the search; NULL when there is none. */
static void *take(Room **rooms, size_t count, size_t size)
{
    Room *room = malloc(sizeof *room + 16 + (count + 1) * size);
    if (!room)
        return NULL;
    room->next = *rooms;
    *rooms = room;
    return (char *)room + 16;
}

static void free_all(Room *rooms)
{
    while (rooms) {
        Room *next = rooms->next;
        free(rooms);
        rooms = next;
    }
}

/* Numbers by document key: open addressing. */
typedef struct {
    int64_t *keys;
    int32_t *values;
    size_t mask;
} Table;

static int new_table(Room **rooms, Table *table, size_t count)
{
    size_t size = 16;
    while (size < 2 * count)
        size *= 2;
    table->keys = take(rooms, size, sizeof *table->keys);
    table->values = take(rooms, size, sizeof *table->values);
    table->mask = size - 1;
    if (!table->keys || !table->values)
        return 0;
    memset(table->values, 0xff, size * sizeof *table->values); /* -1: a free place */
    return 1;
}

/* Where a key is, or would be. */
static size_t place_in(const Table *table, int64_t key)
{
    size_t at = (uint64_t)key * 0x9e3779b97f4a7c15u >> 20 & table->mask;
    while (table->values[at] >= 0 && table->keys[at] != key)
        at = (at + 1) & table->mask;
    return at;
}

/* Gives a key its value, from 0; whether it had none before. */
static int add(Table *table, int64_t key, int32_t value)
{
    const size_t at = place_in(table, key);
    const int is_new = table->values[at] < 0;
    table->keys[at] = key;
    table->values[at] = value;
    return is_new;
}

/* The value of a key; -1 where it has none. */
static int32_t value_of(const Table *table, int64_t key)
{
    return table->values[place_in(table, key)];
}

/* ---- chunks by their vectors ------------------------------------------------------------------ */

/* A chunk: its part, and its row there. */
typedef struct {
    float score;
    int32_t part;
    int64_t row;
} Near;

/* What is known of one part: the scores of all its chunks, or of those that a walk has met. */
typedef struct {
    float *scores;  /* of all rows; NULL until they are compared */
    int32_t *nodes; /* of a walk, best first, by its own scores */
    float *rescored;
    int walked, bound, scored; /* nodes; the walk's bound; nodes that are scored again */
} Known;

typedef struct {
    const Query *query;
    Room *rooms;
    Known *known;      /* of each part */
    int64_t counting;  /* chunks */
} Search;

static int nearer_first(const void *a, const void *b)
{
    const Near *one = a, *other = b;
    if (one->score != other->score)
        return one->score < other->score ? 1 : -1;
    if (one->part != other->part)
        return one->part < other->part ? -1 : 1;
    return one->row < other->row ? -1 : one->row > other->row;
}

static int64_t key_of(const Query *query, Near near) { return query->part[near.part].keys[near.row]; }

static int counts(const Part *part, int64_t row) { return !part->counted || part->counted[row]; }

static float score_of_row(const Query *query, const Part *part, int64_t row)
{
    return product_with(part->vectors + row * query->dim, query->vector, query->dim);
}

static void fetch(const Query *query, const Part *part, int64_t row)
{
    const char *from = (const char *)(part->vectors + row * query->dim);
    for (int i = 0; i < query->dim * 2; i += 64)
        __builtin_prefetch(from + i);
}

/* Compares all chunks of a part that count; whether there was memory. */
static int compare_all(Search *search, int p)
{
    const Part *part = search->query->part + p;
    Known *known = search->known + p;
    if (known->scores)
        return 1;
    known->scores = take(&search->rooms, part->count, sizeof(float));
    if (!known->scores)
        return 0;
    for (int64_t row = 0; row < part->count; row++)
        if (counts(part, row))
            known->scores[row] = score_of_row(search->query, part, row);
    return 1;
}

/* Puts the `count` best of all chunks of a part into `near`, unsorted; how many. */
static int best_of_all(const Search *search, int p, int count, Near *near)
{
    const Part *part = search->query->part + p;
    const float *scores = search->known[p].scores;
    int size = 0;
    for (int64_t row = 0; row < part->count; row++) {
        if (!counts(part, row) || (size == count && scores[row] <= near[0].score))
            continue; /* of equal scores the older chunk stays */
        Near moved = {scores[row], p, row};
        int at;
        if (size < count) { /* a heap whose first element is the worst */
            at = size++;
            for (; at && nearer_first(&near[(at - 1) / 2], &moved) < 0; at = (at - 1) / 2)
                near[at] = near[(at - 1) / 2];
        } else {
            at = 0;
            for (int child; (child = 2 * at + 1) < size; at = child) {
                if (child + 1 < size && nearer_first(&near[child + 1], &near[child]) > 0)
                    child++;
                if (nearer_first(&near[child], &moved) <= 0)
                    break;
                near[at] = near[child];
            }
        }
        near[at] = moved;
    }
    return size;
}

/* Walks the graph of a part with a bound, unless that is done; whether there was memory. */
static int walk(Search *search, int p, int bound)
{
    Known *known = search->known + p;
    const Part *part = search->query->part + p;
    if (known->bound == bound)
        return 1;
    float *scores = take(&search->rooms, bound, sizeof(float));
    known->nodes = take(&search->rooms, bound, sizeof(int32_t));
    known->rescored = take(&search->rooms, bound, sizeof(float));
    if (!scores || !known->nodes || !known->rescored)
        return 0;
    known->walked = hnsw_search(part->graph, search->query->vector, bound, known->nodes, scores);
    known->bound = bound;
    known->scored = 0;
    int kept = 0;
    if (known->walked < 0)
        return 0;
    for (int i = 0; i < known->walked; i++)
        if (counts(part, known->nodes[i]))
            known->nodes[kept++] = known->nodes[i];
    known->walked = kept;
    return 1;
}

/* Puts the `wanted` best nodes of the walk, scored again, into `near`, unsorted; how many. */
static int score_again(Search *search, int p, int wanted, Near *near)
{
    const Part *part = search->query->part + p;
    Known *known = search->known + p;
    const int count = wanted < known->walked ? wanted : known->walked;
    for (int i = known->scored; i < count && i < known->scored + AHEAD; i++)
        fetch(search->query, part, known->nodes[i]);
    for (; known->scored < count; known->scored++) {
        if (known->scored + AHEAD < count)
            fetch(search->query, part, known->nodes[known->scored + AHEAD]);
        known->rescored[known->scored] =
            score_of_row(search->query, part, known->nodes[known->scored]);
    }
    for (int i = 0; i < count; i++)
        near[i] = (Near){known->rescored[i], p, known->nodes[i]};
    return count;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Whether all chunks of a part that count are compared sooner than its graph is walked. */
static int is_compared(const Query *query, const Part *part)
{
    if (!part->graph)
        return 1;
    const double share = (double)part->counting / (double)part->count;
    return (double)part->counting * share <= (double)COMPARISONS * query->effort;
}

/* The `k` nearest chunks of one part into `near`, unsorted, or some more; -1 out of memory. */
static int nearest_of_part(Search *search, int p, int k, Near *near)
{
    const Query *query = search->query;
    const Part *part = query->part + p;
    if (is_compared(query, part))
        return compare_all(search, p) ? best_of_all(search, p, k, near) : -1;
    const int64_t wanted = smaller(larger((int64_t)k * query->refine, query->least), part->count);
    /* of what is met, only a share counts */
    double effort = query->effort;
    if (part->counted)
        effort *= (double)part->count / (double)part->counting;
    for (;; effort *= WIDER) {
        const int64_t bound = smaller(larger((int64_t)effort, wanted), part->count);
        if (!walk(search, p, (int)bound))
            return -1;
        if (search->known[p].walked >= smaller(k, part->counting) || bound == part->count)
            return score_again(search, p, (int)wanted, near);
    }
}

/* The `k` nearest chunks into `near`, nearest first; how many, -1 out of memory. */
static int nearest(Search *search, int k, Near *near)
{
    const Query *query = search->query;
    const int most = (int)larger((int64_t)k * query->refine, query->least);
    Near *all = take(&search->rooms, (size_t)most * query->parts, sizeof *all);
    if (!all)
        return -1;
    int count = 0;
    for (int p = 0; p < query->parts; p++) {
        if (!query->part[p].counting)
            continue;
        const int more = nearest_of_part(search, p, k, all + count);
        if (more < 0)
            return -1;
        count += more;
    }
    if (count < smaller(k, search->counting)) { /* nodes that no walk comes to */
        count = 0;
        for (int p = 0; p < query->parts; p++) {
            if (!compare_all(search, p))
                return -1;
            count += best_of_all(search, p, k, all + count);
        }
    }
    qsort(all, count, sizeof *all, nearer_first);
    count = (int)smaller(count, k);
    memcpy(near, all, count * sizeof *near);
    return count;
}

/*
 * The `k` nearest chunks, of which the fewer nearest are the beginning: a graph, which finds others
 * when more are wanted, is asked for a block, then for a larger one, and what is new is put behind.
 */
static int nearest_in_blocks(Search *search, int k, Near *near)
{
    const Query *query = search->query;
    int block = query->block;
    Near *more = take(&search->rooms, larger(block, (int64_t)k * query->block_growth), sizeof *more);
    if (!more)
        return -1;
    int count = nearest(search, block, more);
    if (count < 0)
        return -1;
    memcpy(near, more, smaller(count, k) * sizeof *near);
    while (block < k && count == block) {
        const int before = count;
        block *= query->block_growth;
        const int found = nearest(search, block, more);
        if (found < 0)
            return -1;
        Table known;
        if (!new_table(&search->rooms, &known, before))
            return -1;
        for (int i = 0; i < before; i++)
            add(&known, key_of(query, near[i]), i);
        for (int i = 0; i < found && count < block; i++)
            if (value_of(&known, key_of(query, more[i])) < 0) {
                if (count < k)
                    near[count] = more[i];
                count++;
            }
    }
    return (int)smaller(count, k);
}

/* ---- documents ---------------------------------------------------------------------------- */

/* A document in the list of nearest ones, or in that of its words. */
typedef struct {
    int64_t document;
    Near chunk; /* its best, with its cosine */
    float bm25;
    int dense_rank, lexical_rank;
} Candidate;

/* Documents, best first; `complete`: there are no more. */
typedef struct {
    Candidate *candidates;
    int count, complete;
} Ranking;

static int64_t document_of(const Query *query, Near chunk)
{
    return query->part[chunk.part].documents[chunk.row];
}

/* The documents of the nearest chunks, `depth` of them; whether there was memory. */
static int rank_by_vector(Search *search, int depth, Ranking *ranking)
{
    const Query *query = search->query;
    int wanted = depth;
    for (;;) {
        Near *near = take(&search->rooms, wanted, sizeof *near);
        Table known;
        ranking->candidates = take(&search->rooms, depth, sizeof(Candidate));
        if (!near || !ranking->candidates || !new_table(&search->rooms, &known, depth))
            return 0;
        const int count = nearest_in_blocks(search, wanted, near);
        if (count < 0)
            return 0;
        ranking->count = 0;
        for (int i = 0; i < count && ranking->count < depth; i++) {
            const int64_t document = document_of(query, near[i]);
            if (add(&known, document, i))
                ranking->candidates[ranking->count++] =
                    (Candidate){document, near[i], 0.0f, 0, 0};
        }
        for (int i = 0; i < ranking->count; i++)
            ranking->candidates[i].dense_rank = i + 1;
        ranking->complete = wanted >= search->counting;
        if (ranking->count >= depth || ranking->complete || wanted >= MOST_DEPTH)
            return 1;
        wanted = (int)smaller((int64_t)wanted * 2, MOST_DEPTH);
    }
}

/* The row of a chunk that counts; whether there is one. */
static int find_chunk(const Query *query, int64_t key, Near *found)
{
    for (int p = 0; p < query->parts; p++) {
        const Part *part = query->part + p;
        if (!part->count || part->keys[part->count - 1] < key)
            continue;
        const int64_t row = place_of_key(part->keys, part->count, key);
        *found = (Near){0.0f, p, row};
        return part->keys[row] == key && counts(part, row);
    }
    return 0;
}

/* The first chunk of a chunk's document. */
static Near first_chunk(const Query *query, Near chunk)
{
    const Part *part = query->part + chunk.part;
    while (chunk.row && counts(part, chunk.row - 1) &&
           part->documents[chunk.row - 1] == part->documents[chunk.row])
        chunk.row--;
    return chunk;
}

/* The best chunk of a document by its first one. */
static Near best_chunk(const Query *query, Near first)
{
    const Part *part = query->part + first.part;
    Near best = first;
    best.score = score_of_row(query, part, first.row);
    for (int64_t row = first.row + 1; row < part->count && counts(part, row) &&
                                      part->documents[row] == part->documents[first.row];
         row++) {
        const float score = score_of_row(query, part, row);
        if (score > best.score)
            best = (Near){score, first.part, row};
    }
    return best;
}

/* The documents of the best words, `depth` of them; whether there was memory. */
static int rank_by_words(Search *search, int depth, Ranking *ranking)
{
    const Query *query = search->query;
    *ranking = (Ranking){NULL, 0, 1};
    if (!query->words)
        return 1;
    int64_t *chunks = take(&search->rooms, depth, sizeof *chunks);
    float *scores = take(&search->rooms, depth, sizeof *scores);
    ranking->candidates = take(&search->rooms, depth, sizeof(Candidate));
    if (!chunks || !scores || !ranking->candidates)
        return 0;
    const int count = bm25_top(query->words, depth, chunks, scores);
    if (count < 0)
        return 0;
    for (int i = 0; i < count; i++) {
        Near first;
        if (find_chunk(query, chunks[i], &first)) {
            fetch(query, query->part + first.part, first.row);
            ranking->candidates[ranking->count] =
                (Candidate){document_of(query, first), first, scores[i], 0, ranking->count + 1};
            ranking->count++;
        }
    }
    ranking->complete = count < depth;
    return 1;
}

/* ---- both lists -------------------------------------------------------------------------------- */

/* Documents of both lists, best first; none that is not among them scores more than `bound`. */
typedef struct {
    Found *found;
    int count;
    double bound;
} Fused;

static int better_rank(const Found *found)
{
    if (!found->dense_rank || !found->lexical_rank)
        return found->dense_rank + found->lexical_rank;
    return (int)smaller(found->dense_rank, found->lexical_rank);
}

static int better_first(const void *a, const void *b)
{
    const Found *one = a, *other = b;
    if (one->score != other->score)
        return one->score < other->score ? 1 : -1;
    const int rank = better_rank(one), other_rank = better_rank(other);
    if (rank != other_rank)
        return rank < other_rank ? -1 : 1;
    return one->document < other->document ? -1 : one->document > other->document;
}

/* Gives the documents of the nearest chunks their BM25 and its rank; whether there was memory.
 * `in_lexical`: where documents are in the list of the best words. */
static int add_bm25(Search *search, const Ranking *dense, const Ranking *lexical,
                    const Table *in_lexical)
{
    const Query *query = search->query;
    int64_t *chunks = take(&search->rooms, dense->count, sizeof *chunks);
    float *scores = take(&search->rooms, dense->count, sizeof *scores);
    int32_t *places = take(&search->rooms, dense->count, sizeof *places);
    if (!chunks || !scores || !places)
        return 0;
    int unknown = 0;
    for (int i = 0; i < dense->count; i++) {
        Candidate *candidate = dense->candidates + i;
        const int32_t at = value_of(in_lexical, candidate->document);
        if (at >= 0) {
            candidate->bm25 = lexical->candidates[at].bm25;
            candidate->lexical_rank = lexical->candidates[at].lexical_rank;
        } else {
            places[unknown] = i;
            chunks[unknown++] = key_of(query, first_chunk(query, candidate->chunk));
        }
    }
    bm25_scores(query->words, unknown, chunks, scores);
    for (int i = 0; i < unknown; i++)
        dense->candidates[places[i]].bm25 = scores[i];
    return 1;
}

/* How scores are scaled: by the least that is possible and the most that there is. */
typedef struct {
    double weight, cosines, bm25;
} Scale;

static double fused_score(Scale scale, double cosine, double bm25)
{
    const double scaled = (cosine - LEAST_COSINE) / scale.cosines;
    return scale.weight * scaled + (1 - scale.weight) * bm25 / scale.bm25;
}

static Found as_found(const Query *query, Candidate candidate, double score)
{
    return (Found){candidate.document, key_of(query, candidate.chunk), score,
                   candidate.chunk.score, candidate.bm25,
                   candidate.dense_rank, candidate.lexical_rank};
}

/* Sums the scores of both lists; whether there was memory. */
static int fuse(Search *search, const Ranking *dense, const Ranking *lexical, Fused *fused)
{
    const Query *query = search->query;
    Table in_dense, in_lexical;
    fused->found = take(&search->rooms, dense->count + lexical->count, sizeof(Found));
    fused->count = 0;
    if (!fused->found || !new_table(&search->rooms, &in_dense, dense->count) ||
        !new_table(&search->rooms, &in_lexical, lexical->count))
        return 0;
    for (int i = 0; i < dense->count; i++)
        add(&in_dense, dense->candidates[i].document, i);
    for (int i = 0; i < lexical->count; i++)
        add(&in_lexical, lexical->candidates[i].document, i);
    if (lexical->count && !add_bm25(search, dense, lexical, &in_lexical))
        return 0;
    Scale scale = {lexical->count ? query->weight : 1.0, 1e-9, 1.0};
    if (dense->count && dense->candidates[0].chunk.score - LEAST_COSINE > scale.cosines)
        scale.cosines = dense->candidates[0].chunk.score - LEAST_COSINE;
    if (lexical->count)
        scale.bm25 = lexical->candidates[0].bm25;
    for (int i = 0; i < dense->count; i++) {
        const Candidate *candidate = dense->candidates + i;
        const double score = fused_score(scale, candidate->chunk.score, candidate->bm25);
        fused->found[fused->count++] = as_found(query, *candidate, score);
    }
    for (int i = 0; i < lexical->count; i++) {
        Candidate candidate = lexical->candidates[i];
        if (value_of(&in_dense, candidate.document) >= 0)
            continue;
        candidate.chunk = best_chunk(query, candidate.chunk);
        const double score = fused_score(scale, candidate.chunk.score, candidate.bm25);
        fused->found[fused->count++] = as_found(query, candidate, score);
    }
    qsort(fused->found, fused->count, sizeof(Found), better_first);
    const double last_cosine =
        dense->count ? dense->candidates[dense->count - 1].chunk.score : LEAST_COSINE;
    const double last_bm25 = lexical->complete || !lexical->count
                                 ? 0.0
                                 : lexical->candidates[lexical->count - 1].bm25;
    fused->bound = fused_score(scale, last_cosine, last_bm25);
    return 1;
}

/* Hybrid search: reads both lists deeper until enough documents are in their final places. */
static int retrieve_by_both(Search *search, int wanted, Found *found)
{
    int count = 0, depth = FIRST_DEPTH;
    Table final;
    if (!new_table(&search->rooms, &final, wanted))
        return -1;
    for (;;) {
        Ranking dense, lexical;
        Fused fused;
        if (!rank_by_vector(search, depth, &dense) || !rank_by_words(search, depth, &lexical) ||
            !fuse(search, &dense, &lexical, &fused))
            return -1;
        const int complete = dense.complete || depth >= MOST_DEPTH;
        for (int i = 0; i < fused.count && count < wanted; i++) {
            if (!complete && fused.found[i].score < fused.bound)
                break;
            if (add(&final, fused.found[i].document, count))
                found[count++] = fused.found[i];
        }
        if (complete || count == wanted)
            return count;
        depth = (int)smaller((int64_t)depth * DEPTH_GROWTH, MOST_DEPTH);
    }
}

/* Search by the vector alone: a score is the cosine of the best chunk. */
static int retrieve_by_vector(Search *search, int wanted, Found *found)
{
    Ranking dense;
    if (!rank_by_vector(search, wanted, &dense))
        return -1;
    for (int i = 0; i < dense.count; i++)
        found[i] = as_found(search->query, dense.candidates[i], dense.candidates[i].chunk.score);
    return dense.count;
}

static int begin(Search *search, const Query *query)
{
    *search = (Search){query, NULL, NULL, 0};
    search->known = take(&search->rooms, query->parts, sizeof *search->known);
    if (!search->known)
        return 0;
    memset(search->known, 0, query->parts * sizeof *search->known);
    for (int p = 0; p < query->parts; p++)
        search->counting += query->part[p].counting;
    return 1;
}

int retrieve_chunks(const Query *query, int k, int64_t *keys, float *scores)
{
    Search search;
    Near *near;
    int count = -1;
    if (begin(&search, query) && (near = take(&search.rooms, k, sizeof *near)))
        count = nearest_in_blocks(&search, k, near);
    for (int i = 0; i < count; i++) {
        keys[i] = key_of(query, near[i]);
        scores[i] = near[i].score;
    }
    free_all(search.rooms);
    return count;
}

int retrieve(const Query *query, int wanted, Found *found)
{
    Search search;
    if (!begin(&search, query))
        return -1;
    const int count = query->hybrid ? retrieve_by_both(&search, wanted, found)
                                    : retrieve_by_vector(&search, wanted, found);
    free_all(search.rooms);
    return count;
}

size_t retrieve_struct_size(int which)
{
    static const size_t sizes[] = {sizeof(Part),      sizeof(Query),     sizeof(Found),
                                   sizeof(HnswGraph), sizeof(WordBlock), sizeof(WordQuery)};
    return which >= 0 && which < 6 ? sizes[which] : 0;
}
