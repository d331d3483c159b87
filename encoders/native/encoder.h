/* An encoder's structures: what the caller gives, what is made of it, and the memory of a call. */
#ifndef TRIMSEEK_ENCODER_H
#define TRIMSEEK_ENCODER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "team.h"

enum { ALIGNMENT = 64 };                        /* bytes: a cache line, and the widest vector */
enum { TABLE_FLOAT32, TABLE_INT8, TABLE_INT4 }; /* how token embeddings are stored */
enum { GELU, GELU_TANH, RELU, SILU, NO_ACTIVATION };
enum { POOL_MEAN, POOL_CLS, POOL_MAX, POOL_MEAN_SQRT, POOL_WEIGHTED, POOL_LAST };
/* Stages whose time is measured, in the order of library.STAGES. */
enum { EMBED, QUANTIZE, QKV, ATTEND, ATTENTION_OUTPUT, INTERMEDIATE, OUTPUT, NORM, POOL, STAGES };
enum { DISTANCE_PADDING = 32 }; /* floats behind a head's distances: a panel at least */
enum { BLOCK_ROWS = 48 }; /* tokens whose FFN activations are made at a time: they stay in the cache */

/*
 * What the caller gives. library.py declares these four structures with the same names.
 *
 * A matrix: int8 weights (in_dim, out_dim), row after row, with a scale and a bias for each column.
 */
typedef struct {
    int32_t in_dim, out_dim;
    const int8_t *values;
    const float *scale, *bias;
    const float *factor; /* (in_dim,): what is read is multiplied by it; NULL if it is not */
    float least, most;   /* of what is read, as calibrated; both 0: each row's own */
} Matrix;

typedef struct {
    const float *weight, *bias;
} Norm;

/* A norm's weight is NULL where there is none. */
typedef struct {
    Matrix qkv, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
    const float *distances; /* (heads, distances_stride): added to a score by the key's position less
                             * the query's; NULL if nothing is */
    const float *rotary;    /* (positions, head_dim): cosines, then sines; NULL if nothing turns */
    int32_t window;         /* tokens that attention reaches on each side; 0: all */
} LayerSpec;

typedef struct {
    int32_t vocabulary, embedding_dim, positions, dim, head_dim, layers;
    int32_t table, activation, pooling, normalize;
    int32_t separator; /* the token behind which tokens are of the second type; -1 if none is */
    int32_t pre_norm; /* norms stand before attention and the FFN, not behind the sums */
    int32_t gated;    /* the FFN multiplies its activated first half by its second */
    int32_t causal;   /* attention reaches no token behind */
    float epsilon;
    const void *tokens;       /* (vocabulary, embedding_dim) in the format of `table` */
    const float *token_scale; /* (vocabulary,), unless the table is float32 */
    const float *position;    /* (positions, embedding_dim), with token type 0 added; or NULL */
    const float *second_type; /* (embedding_dim,): type 1 less type 0; NULL if all are of type 0 */
    Norm embedding_norm, final_norm;
    Matrix projection; /* in_dim is 0 if there is none */
    const LayerSpec *layer;
} EncoderSpec;

/*
 * A matrix as the kernels read it: panels of some columns; in a panel, for each four rows, the
 * four bytes of every column together, which is what one dot product instruction takes.
 */
typedef struct {
    int in_dim, out_dim; /* as the caller gave them */
    int depth, width;    /* rounded up to 4 rows and to whole panels; padding is zero */
    const float *factor; /* the caller's memory */
    float least, most;
    int8_t *panels;      /* the encoder's memory */
    float *scale, *bias; /* (width,) */
    int32_t *sums;       /* (width,): the sum of each column's weights */
} Product;

typedef struct {
    Product qkv, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
    const float *distances, *rotary;
    int heads, window;
} Layer;

/* Quantized activations: real = scale (q - zero), with a scale and a zero point for each row. */
typedef struct {
    uint8_t *q;
    float *scale;
    int32_t *zero;
} Quantized;

/* Memory of one call: for all its tokens, and for attention over its longest text. */
typedef struct Workspace {
    struct Workspace *next;
    void *memory;
    size_t size;
    float *x, *qkv, *context; /* for all tokens */
    float *hidden, *added;    /* for BLOCK_ROWS tokens */
    Quantized quantized;      /* for BLOCK_ROWS tokens */
    float *attention;         /* attention_size floats for each member of the team */
    size_t attention_size;
} Workspace;

typedef struct Kernels Kernels;

typedef struct {
    EncoderSpec spec;
    const Kernels *kernels;
    Product projection;
    Layer *layers;
    int8_t *panels; /* of all matrices, one behind another */
    size_t panels_size;
    int widest;  /* floats of one token in the largest output of a matrix */
    int deepest; /* bytes of one token in the largest input of a matrix */
    Team *team;
    _Atomic int calls; /* that are running */
    pthread_mutex_t lock;
    Workspace *idle; /* a list of workspaces that no call uses */
} Encoder;

/* Texts one after another: text i has the ids from start[i] to start[i + 1]. */
typedef struct {
    const int32_t *ids, *start;
    int count;
} Texts;

/* The encoder in one instruction set. */
struct Kernels {
    const char *name;
    int panel; /* columns of a panel */
    /* adds the time of each stage to `seconds`, unless that is NULL */
    void (*forward)(const Encoder *, Workspace *, Texts, Team *, float *out, double *seconds);
    /* a product of `rows` rows, BLOCK_ROWS at a time; out (BLOCK_ROWS, width) is overwritten */
    void (*product)(const Product *, Quantized, int rows, float *out);
};

static inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

/* Floats of a head's distances: of 2 positions - 1, and what is read behind the last. */
static inline size_t distances_stride(int positions)
{
    return 2 * (size_t)positions - 1 + DISTANCE_PADDING;
}

enum { QUERY_ROWS = 4 }; /* tokens whose attention is computed together */

/* Floats that attention over a text needs: keys, values, scores, the weighted values and masks. */
static inline size_t attention_floats(int tokens, int head_dim, int panel)
{
    const size_t width = round_up(tokens, panel), mixed = round_up(head_dim, panel);
    return width * head_dim + tokens * mixed + QUERY_ROWS * (2 * width + mixed);
}

#endif
