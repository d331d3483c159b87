/* What an encoder is to the code here, and what a call of it works on. */
#ifndef TRIMSEEK_ENCODER_H
#define TRIMSEEK_ENCODER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "team.h"

enum { ALIGNMENT = 64 };                        /* bytes: a cache line, and the widest vector */
enum { TABLE_FLOAT32, TABLE_INT8, TABLE_INT4 }; /* how token embeddings are stored */
enum { GELU, GELU_TANH, RELU, NO_ACTIVATION };
enum { POOL_MEAN, POOL_CLS, POOL_MAX };
/* What a call's time is told apart by, in the order of library.STAGES. */
enum { EMBED, QUANTIZE, QKV, ATTEND, ATTENTION_OUTPUT, INTERMEDIATE, OUTPUT, NORM, POOL, STAGES };
enum { BLOCK_ROWS = 48 }; /* tokens whose FFN activations are made at a time: they stay in the cache */

/* What the caller gives: int8 weights (in, out), row after row, one scale and bias a column. */
typedef struct {
    int32_t in, out;
    const int8_t *values;
    const float *scale, *bias;
} Matrix;

typedef struct {
    const float *weight, *bias;
} Norm;

typedef struct {
    Matrix qkv, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
} LayerParts;

typedef struct {
    int32_t vocabulary, embedding_dim, positions, dim, head_dim, layers;
    int32_t table, activation, pooling, normalize;
    float epsilon;
    const void *tokens;       /* (vocabulary, embedding_dim) in the format of `table` */
    const float *token_scale; /* (vocabulary,), unless the table is float32 */
    const float *position;    /* (positions, embedding_dim), the token type's added */
    Norm embedding_norm;
    Matrix projection; /* in = 0: there is none */
    const LayerParts *layer;
} Parts;

/*
 * A matrix as the kernels read it: panels of some columns; in a panel, for each four rows, the
 * four bytes of every column together, which is what one dot product instruction takes.
 */
typedef struct {
    int in, out;       /* as given */
    int depth, width;  /* rounded up: rows to 4, columns to whole panels; what is added is zero */
    int8_t *panels;
    float *scale, *bias; /* (width,) */
    int32_t *sums;       /* (width,): of the weights of each column */
} Product;

typedef struct {
    Product qkv, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
    int heads;
} Layer;

/* Rows of activations that were quantized: real = scale (q - zero), one of each for every row. */
typedef struct {
    uint8_t *q;
    float *scale;
    int32_t *zero;
} Quantized;

/* Memory of one call for so many tokens, and for attention over the longest text. */
typedef struct Workspace {
    struct Workspace *next;
    void *memory;
    size_t size;
    float *x, *qkv, *context; /* of every token */
    float *hidden, *added;    /* of BLOCK_ROWS tokens */
    Quantized quantized;      /* likewise */
    float *attention;         /* attention_size floats for each member of the team */
    size_t attention_size;
} Workspace;

typedef struct Kernels Kernels;

typedef struct {
    Parts parts;
    const Kernels *kernels;
    Product projection;
    Layer *layers;
    int widest;  /* floats of one token: the output of any matrix */
    int deepest; /* bytes of one token: the input of any matrix */
    Team *team;
    _Atomic int calls; /* under way */
    pthread_mutex_t lock;
    Workspace *idle; /* those that no call uses */
} Encoder;

/* Texts one after another: text i has the ids from start[i] to start[i + 1]. */
typedef struct {
    const int32_t *ids, *start;
    int count;
} Texts;

/* The encoder for one kind of instructions. */
struct Kernels {
    const char *name;
    int panel; /* columns of a panel */
    /* seconds: of each stage, added to; NULL where nobody asks */
    void (*forward)(const Encoder *, Workspace *, Texts, Team *, float *out, double *seconds);
    /* one product of so many rows, BLOCK_ROWS at a time; out (BLOCK_ROWS, width) */
    void (*product)(const Product *, Quantized, int rows, float *out);
};

static inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

enum { QUERY_ROWS = 4 }; /* queries that attend at a time */

/* Floats that attention over a text of so many tokens needs: keys, values, scores, the outcome. */
static inline size_t attention_floats(int tokens, int head_dim, int panel)
{
    const size_t width = round_up(tokens, panel), mixed = round_up(head_dim, panel);
    return width * head_dim + tokens * mixed + QUERY_ROWS * (width + mixed);
}

#endif
