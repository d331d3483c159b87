/* From arrays to an encoder, and from token ids to vectors: what library.py calls. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "encoder.h"

enum { DONE = 0, NO_MEMORY = -1, UNKNOWN_TOKEN = -2, TOO_LONG = -3 };
/* Tokens that one thread takes at a time: enough to pay for reading all weights, few enough for
 * their activations to stay in the cache. */
enum { CHUNK_TOKENS = 256, SMALLEST_CHUNK = 64 };

#if defined(__x86_64__)
#include <cpuid.h>

extern const Kernels avx512_vnni_kernels, avx_vnni_kernels, avx2_kernels;

#if defined(EMULATED)
#define HAS(feature) 1
#else
#define HAS(feature) __builtin_cpu_supports(feature)
#endif

/* Not every compiler's __builtin_cpu_supports knows AVX-VNNI: CPUID leaf 7, subleaf 1, EAX bit 4. */
static int has_avx_vnni(void)
{
    unsigned a, b, c, d;
    return HAS("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}

static int has_avx512_vnni(void)
{
    return HAS("avx512f") && HAS("avx512bw") && HAS("avx512vl") && HAS("avx512dq") &&
           HAS("avx512vnni");
}

static const Kernels *find_kernels(const char *name)
{
    __builtin_cpu_init();
    if (!HAS("avx2") || !HAS("fma"))
        return NULL;
    if (!strcmp(name, avx512_vnni_kernels.name) && has_avx512_vnni())
        return &avx512_vnni_kernels;
    if (!strcmp(name, avx_vnni_kernels.name) && has_avx_vnni())
        return &avx_vnni_kernels;
    return strcmp(name, avx2_kernels.name) ? NULL : &avx2_kernels;
}
#else
static const Kernels *find_kernels(const char *name)
{
    (void)name;
    return NULL;
}
#endif

/* Memory that begins at a cache line; NULL when there is none. */
static void *aligned(size_t bytes)
{
    return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
}

enum { HUGE_PAGE = 2 << 20 };

/*
 * Memory that is read from its beginning to its end: whole huge pages, where the system has any, as
 * the CPU fetches nothing ahead beyond a page. `size` is a multiple of them. NULL when there is none.
 */
static void *map_huge_pages(size_t size)
{
    char *all = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    const size_t before = (HUGE_PAGE - (uintptr_t)all % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(all, before);
    munmap(all + before + size, HUGE_PAGE - before);
#if defined(MADV_HUGEPAGE)
    madvise(all + before, size, MADV_HUGEPAGE);
#endif
    return all + before;
}

/* ---- making an encoder -------------------------------------------------------------------- */

static size_t panel_bytes(Matrix matrix, int panel)
{
    return (size_t)round_up(matrix.in_dim, 4) * round_up(matrix.out_dim, panel);
}

/* Copies a matrix into panels of `panel` columns at `*at`, which it moves on; NO_MEMORY if that
 * fails. */
static int pack(Product *p, Matrix matrix, int panel, int8_t **at)
{
    p->in_dim = matrix.in_dim;
    p->out_dim = matrix.out_dim;
    p->depth = round_up(matrix.in_dim, 4);
    p->width = round_up(matrix.out_dim, panel);
    p->factor = matrix.factor;
    p->least = matrix.least;
    p->most = matrix.most;
    p->panels = *at;
    *at += panel_bytes(matrix, panel);
    p->scale = aligned(sizeof(float) * p->width);
    p->bias = aligned(sizeof(float) * p->width);
    p->sums = aligned(sizeof(int32_t) * p->width);
    if (!p->scale || !p->bias || !p->sums)
        return NO_MEMORY;
    memset(p->panels, 0, (size_t)p->depth * p->width);
    memset(p->sums, 0, sizeof(int32_t) * p->width);
    for (int j = 0; j < p->width; j++) {
        p->scale[j] = j < matrix.out_dim ? matrix.scale[j] : 0.0f;
        p->bias[j] = j < matrix.out_dim ? matrix.bias[j] : 0.0f;
    }
    for (int i = 0; i < matrix.in_dim; i++) {
        const int8_t *row = matrix.values + (size_t)i * matrix.out_dim;
        for (int j = 0; j < matrix.out_dim; j++) {
            const size_t first = (size_t)(j / panel) * panel * p->depth;
            p->panels[first + (size_t)(i / 4) * 4 * panel + j % panel * 4 + i % 4] = row[j];
            p->sums[j] += row[j];
        }
    }
    return DONE;
}

static void unpack(Product *p)
{
    free(p->scale);
    free(p->bias);
    free(p->sums);
}

/* Widens the workspace, if need be, to what this product reads and writes for one token. */
static void measure(Encoder *encoder, const Product *p)
{
    encoder->widest = p->width > encoder->widest ? p->width : encoder->widest;
    encoder->deepest = p->depth > encoder->deepest ? p->depth : encoder->deepest;
}

void encoder_free(Encoder *encoder)
{
    if (!encoder)
        return;
    team_free(encoder->team);
    for (int i = 0; encoder->layers && i < encoder->spec.layers; i++) {
        unpack(&encoder->layers[i].qkv);
        unpack(&encoder->layers[i].attention_output);
        unpack(&encoder->layers[i].intermediate);
        unpack(&encoder->layers[i].output);
    }
    unpack(&encoder->projection);
    for (Workspace *space = encoder->idle; space;) {
        Workspace *next = space->next;
        free(space->memory);
        free(space);
        space = next;
    }
    pthread_mutex_destroy(&encoder->lock);
    free(encoder->layers);
    if (encoder->panels)
        munmap(encoder->panels, encoder->panels_size);
    free(encoder);
}

/*
 * The sizes that the caller's structures must have: EncoderSpec, LayerSpec, Matrix, Norm. Python
 * declares the same structures once more, and checks this when it loads the library.
 */
size_t encoder_struct_size(int which)
{
    static const size_t sizes[] = {
        sizeof(EncoderSpec), sizeof(LayerSpec), sizeof(Matrix), sizeof(Norm)};
    return which >= 0 && which < (int)(sizeof sizes / sizeof *sizes) ? sizes[which] : 0;
}

static size_t all_panel_bytes(const EncoderSpec *spec, int panel)
{
    size_t bytes = spec->projection.in_dim ? panel_bytes(spec->projection, panel) : 0;
    for (int i = 0; i < spec->layers; i++) {
        const LayerSpec *layer = spec->layer + i;
        bytes += panel_bytes(layer->qkv, panel) + panel_bytes(layer->attention_output, panel) +
                 panel_bytes(layer->intermediate, panel) + panel_bytes(layer->output, panel);
    }
    return bytes;
}

/* NULL when out of memory, or where this CPU lacks the instructions called `name`. The caller keeps
 * the tables and norms until the encoder is freed; matrices are copied. */
Encoder *encoder_new(const EncoderSpec *spec, const char *name, int threads)
{
    const Kernels *kernels = find_kernels(name);
    Encoder *encoder = kernels ? calloc(1, sizeof *encoder) : NULL;
    if (!encoder)
        return NULL;
    encoder->spec = *spec;
    encoder->kernels = kernels;
    pthread_mutex_init(&encoder->lock, NULL);
    encoder->layers = calloc(spec->layers + 1, sizeof *encoder->layers); /* 0: a static encoder */
    const int panel = kernels->panel;
    encoder->panels_size = (all_panel_bytes(spec, panel) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    int8_t *at = encoder->panels = map_huge_pages(encoder->panels_size);
    int failed = !encoder->layers || !at;
    if (!failed && spec->projection.in_dim) {
        failed |= pack(&encoder->projection, spec->projection, panel, &at);
        measure(encoder, &encoder->projection);
    }
    for (int i = 0; !failed && i < spec->layers; i++) {
        const LayerSpec *from = spec->layer + i;
        Layer *layer = encoder->layers + i;
        layer->attention_norm = from->attention_norm;
        layer->output_norm = from->output_norm;
        layer->distances = from->distances;
        layer->rotary = from->rotary;
        layer->window = from->window;
        layer->heads = from->attention_output.in_dim / spec->head_dim;
        failed |= pack(&layer->qkv, from->qkv, panel, &at);
        failed |= pack(&layer->attention_output, from->attention_output, panel, &at);
        failed |= pack(&layer->intermediate, from->intermediate, panel, &at);
        failed |= pack(&layer->output, from->output, panel, &at);
        measure(encoder, &layer->qkv);
        measure(encoder, &layer->attention_output);
        measure(encoder, &layer->intermediate);
        measure(encoder, &layer->output);
    }
    if (!failed && threads > 1)
        failed |= !(encoder->team = team_new(threads - 1));
    if (!failed)
        return encoder;
    encoder_free(encoder);
    return NULL;
}

/* Whether this CPU has the instructions called `name`. */
int encoder_supports(const char *name) { return find_kernels(name) != NULL; }

/* ---- running it --------------------------------------------------------------------------- */

/* Takes the next `bytes` of memory at `*at`, which it moves on. */
static void *carve(char **at, size_t bytes)
{
    void *here = *at;
    *at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return here;
}

/* Lays the arrays of a workspace one after another in its memory, which may be NULL yet. Returns the
 * bytes that they need. */
static size_t lay_out(Workspace *space, const Encoder *encoder, int tokens, int longest, int members)
{
    const EncoderSpec *spec = &encoder->spec;
    size_t qkv = 0, context = 0;
    for (int i = 0; i < spec->layers; i++) {
        const Layer *layer = encoder->layers + i;
        qkv = (size_t)layer->qkv.width > qkv ? (size_t)layer->qkv.width : qkv;
        const size_t heads_width = layer->attention_output.in_dim;
        context = heads_width > context ? heads_width : context;
    }
    const size_t block = BLOCK_ROWS, all = tokens;
    const size_t wide = encoder->widest > spec->embedding_dim ? encoder->widest
                                                               : spec->embedding_dim;
    char *at = space->memory;
    space->x = carve(&at, sizeof(float) * all * spec->dim);
    space->qkv = carve(&at, sizeof(float) * all * qkv);
    space->context = carve(&at, sizeof(float) * all * context);
    space->hidden = carve(&at, sizeof(float) * block * wide);
    space->added = carve(&at, sizeof(float) * block * wide);
    space->quantized.q = carve(&at, block * encoder->deepest);
    space->quantized.scale = carve(&at, sizeof(float) * block);
    space->quantized.zero = carve(&at, sizeof(int32_t) * block);
    space->attention_size = attention_floats(longest, spec->head_dim, encoder->kernels->panel);
    space->attention = carve(&at, sizeof(float) * space->attention_size * members);
    return (size_t)(at - (char *)space->memory);
}

/* An idle workspace, made larger if need be, or a new one; NULL when out of memory. */
static Workspace *take_workspace(Encoder *encoder, int tokens, int longest, int members)
{
    pthread_mutex_lock(&encoder->lock);
    Workspace *space = encoder->idle;
    if (space)
        encoder->idle = space->next;
    pthread_mutex_unlock(&encoder->lock);
    if (!space && !(space = calloc(1, sizeof *space)))
        return NULL;
    const size_t size = lay_out(space, encoder, tokens, longest, members);
    if (size > space->size) {
        free(space->memory);
        space->memory = aligned(size);
        space->size = space->memory ? size : 0;
        if (!space->memory) {
            free(space);
            return NULL;
        }
        lay_out(space, encoder, tokens, longest, members);
    }
    return space;
}

static void give_workspace_back(Encoder *encoder, Workspace *space)
{
    pthread_mutex_lock(&encoder->lock);
    space->next = encoder->idle;
    encoder->idle = space;
    pthread_mutex_unlock(&encoder->lock);
}

/* All texts in one pass; the team shares the work inside it. */
static int run_texts(Encoder *encoder, Texts texts, Team *team, float *out, double *seconds)
{
    int longest = 0;
    for (int i = 0; i < texts.count; i++) {
        const int tokens = texts.start[i + 1] - texts.start[i];
        longest = tokens > longest ? tokens : longest;
    }
    const int tokens = texts.start[texts.count] - texts.start[0];
    Workspace *space = take_workspace(encoder, tokens, longest, team_members(team));
    if (!space)
        return NO_MEMORY;
    encoder->kernels->forward(encoder, space, texts, team, out, seconds);
    give_workspace_back(encoder, space);
    return DONE;
}

typedef struct {
    Encoder *encoder;
    Texts texts;
    const int32_t *first; /* number of the first text of each chunk */
    float *out;
    double *seconds;
    int failed;
} Chunks;

static void run_chunk(void *context, int item, int member)
{
    (void)member;
    Chunks *chunks = context;
    const int first = chunks->first[item], count = chunks->first[item + 1] - first;
    const Texts texts = {chunks->texts.ids, chunks->texts.start + first, count};
    if (run_texts(chunks->encoder, texts, NULL,
                  chunks->out + (size_t)first * chunks->encoder->spec.dim, chunks->seconds))
        chunks->failed = 1;
}

/* Chunks of about `chunk_tokens` tokens; each member of the team runs whole chunks. */
static int run_chunks(
    Encoder *encoder, Texts texts, Team *team, int chunk_tokens, float *out, double *seconds)
{
    int32_t *first = malloc(sizeof *first * ((size_t)texts.count + 1));
    if (!first)
        return NO_MEMORY;
    int chunks = 0, tokens = chunk_tokens;
    for (int i = 0; i < texts.count; i++) {
        const int length = texts.start[i + 1] - texts.start[i];
        if (tokens + length > chunk_tokens) {
            first[chunks++] = i;
            tokens = 0;
        }
        tokens += length;
    }
    first[chunks] = texts.count;
    Chunks work = {encoder, texts, first, out, seconds, 0};
    share(team, run_chunk, &work, chunks, 1);
    free(first);
    return work.failed ? NO_MEMORY : DONE;
}

static int check(const EncoderSpec *spec, Texts texts)
{
    for (int i = 0; i < texts.count; i++)
        if (texts.start[i + 1] - texts.start[i] > spec->positions)
            return TOO_LONG;
    for (int32_t i = texts.start[0]; i < texts.start[texts.count]; i++)
        if (texts.ids[i] < 0 || texts.ids[i] >= spec->vocabulary)
            return UNKNOWN_TOKEN;
    return DONE;
}

/*
 * Writes vectors (count, dim) to `out`. Text i has the ids from start[i] to start[i + 1]; the vector
 * of a text without ids is all zeros. Several threads may call this at once; one of them gets the
 * helpers. If `seconds` (STAGES,) is not NULL, the time of each stage is added to it, and no helper
 * takes part. Returns DONE or a negative number, which runtime.PROBLEMS explains.
 */
int encoder_run(
    Encoder *encoder, const int32_t *ids, const int32_t *start, int count, float *out,
    double *seconds)
{
    const Texts texts = {ids, start, count};
    const int problem = check(&encoder->spec, texts);
    if (problem)
        return problem;
    const int tokens = start[count] - start[0];
    /* Several calls at once keep every CPU busy by themselves, so that none needs helpers. */
    const int other_calls = atomic_fetch_add(&encoder->calls, 1);
    Team *team = !seconds && !other_calls && team_take(encoder->team) ? encoder->team : NULL;
    if (other_calls)
        team_dismiss(encoder->team);
    int outcome;
    if (count == 1 || tokens <= SMALLEST_CHUNK) {
        outcome = run_texts(encoder, texts, team, out, seconds);
    } else {
        /* Two chunks for each thread, so that one slow chunk does not keep the others waiting. */
        const int equal = tokens / (2 * team_members(team));
        const int chunk = equal > CHUNK_TOKENS    ? CHUNK_TOKENS
                          : equal < SMALLEST_CHUNK ? SMALLEST_CHUNK
                                                   : equal;
        outcome = run_chunks(encoder, texts, team, chunk, out, seconds);
    }
    if (team)
        team_give_back(team);
    atomic_fetch_sub(&encoder->calls, 1);
    return outcome;
}

/* ---- how fast it can be ------------------------------------------------------------------- */

static double seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Multiply-accumulates a second of one thread, measured over `seconds` of products
 * (rows, in_dim) (in_dim, out_dim). 0 when out of memory, or if this CPU lacks the instructions. */
double product_rate(const char *name, int rows, int in_dim, int out_dim, double seconds)
{
    const Kernels *kernels = find_kernels(name);
    if (!kernels)
        return 0.0;
    const size_t weights = (size_t)in_dim * out_dim;
    const size_t inputs = (size_t)round_up(in_dim, 4) * BLOCK_ROWS;
    int8_t *values = malloc(weights);
    float *ones = malloc(sizeof(float) * out_dim);
    Quantized a = {aligned(inputs), malloc(sizeof(float) * BLOCK_ROWS),
                   malloc(sizeof(int32_t) * BLOCK_ROWS)};
    float *y = aligned(sizeof(float) * BLOCK_ROWS * round_up(out_dim, kernels->panel));
    const Matrix matrix = {in_dim, out_dim, values, ones, ones, NULL, 0.0f, 0.0f};
    int8_t *panels = aligned(panel_bytes(matrix, kernels->panel)), *at = panels;
    Product p = {0};
    double rate = 0.0;
    if (values && ones && a.q && a.scale && a.zero && y && panels) {
        for (size_t i = 0; i < weights; i++)
            values[i] = (int8_t)(i * 2654435761u >> 24);
        for (size_t i = 0; i < inputs; i++)
            a.q[i] = i * 2654435761u >> 25;
        for (int i = 0; i < out_dim; i++)
            ones[i] = 1.0f;
        for (int i = 0; i < BLOCK_ROWS; i++)
            a.scale[i] = 1.0f, a.zero[i] = 0;
        if (!pack(&p, matrix, kernels->panel, &at)) {
            const double began = seconds_now();
            double count = 0.0, took;
            do {
                kernels->product(&p, a, rows, y);
                count += (double)rows * in_dim * out_dim;
            } while ((took = seconds_now() - began) < seconds);
            rate = count / took;
        }
    }
    unpack(&p);
    free(panels);
    free(values);
    free(ones);
    free(a.q);
    free(a.scale);
    free(a.zero);
    free(y);
    return rate;
}
