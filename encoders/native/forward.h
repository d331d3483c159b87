/*
 * The forward pass of a BERT-style encoder (Devlin et al. 2019) in int8, for one kind of
 * instructions: included once for each, with the vectors of avx2.h or avx512.h.
 *
 * Tokens of all texts stand one after another without padding; only attention knows where a text
 * ends. Every row of activations has a scale and a zero point of its own (encoders/quantize.py has
 * the formula), so that a text's vector does not depend on what else is in the batch.
 */

#define PANEL (2 * LANES)

/* ---- int8 products -------------------------------------------------------------------- */

/*
 * `rows` (a constant once inlined) rows of bytes times one panel: the sums, in int32.
 *
 * Every sum is a variable of its own and rows are addressed from every third one: of an array, and
 * of an address for each row, gcc keeps copies in memory.
 */
static inline __attribute__((always_inline)) void dot_panel(
    const uint8_t *a, size_t stride, const int8_t *panel, int depth, int rows, Ints sums[][2])
{
#define SUMS(r, from, offset) Ints left##r = zero_ints(), right##r = zero_ints();
    EACH_ROW(SUMS)
#undef SUMS
    const uint8_t *from0 = a, *from3 = a + 3 * stride, *from6 = a + 6 * stride, *from9 = a + 9 * stride;
    for (const int8_t *end = panel + (size_t)depth * PANEL; panel < end; panel += 4 * PANEL) {
        const Ints b0 = load_ints(panel), b1 = load_ints(panel + 4 * LANES);
#define DOT(r, from, offset)                                                                       \
    if (r < rows) {                                                                                \
        const Ints x = broadcast_bytes(from + offset * stride);                                    \
        left##r = dot(left##r, x, b0);                                                             \
        right##r = dot(right##r, x, b1);                                                           \
        BEFORE_THE_NEXT_ROW(left##r, right##r);                                                    \
    }
        EACH_ROW(DOT)
#undef DOT
        from0 += 4, from3 += 4, from6 += 4, from9 += 4;
    }
#define KEEP(r, from, offset)                                                                      \
    if (r < rows)                                                                                  \
        sums[r][0] = left##r, sums[r][1] = right##r;
    EACH_ROW(KEEP)
#undef KEEP
}

/* For each number of rows a function that is not inlined: beside other code the sums spill too. */
#define DOT_ROWS(n)                                                                                \
    static __attribute__((noinline)) void dot_##n(const uint8_t *a, size_t stride,                 \
                                                  const int8_t *panel, int depth, Ints sums[][2])  \
    {                                                                                              \
        dot_panel(a, stride, panel, depth, n, sums);                                               \
    }
EACH_ROW_COUNT(DOT_ROWS)
#undef DOT_ROWS

/* Phi(x) - 1/2 = x P(x^2) for |x| <= 4.2, fitted by least squares: GELU is off by 2e-5 there, by
 * 8e-5 at -9. */
static inline Floats gelu(Floats x)
{
    const Floats edge = set(4.2f), c = smaller(larger(x, set(-4.2f)), edge), t = multiply(c, c);
    Floats p = set(4.71154171e-11f);
    p = fused(p, t, set(-4.62782595e-09f));
    p = fused(p, t, set(2.0172491e-07f));
    p = fused(p, t, set(-5.19173816e-06f));
    p = fused(p, t, set(8.88289027e-05f));
    p = fused(p, t, set(-1.08040036e-03f));
    p = fused(p, t, set(9.72067526e-03f));
    p = fused(p, t, set(-6.61889953e-02f));
    p = fused(p, t, set(3.98815748e-01f));
    return multiply(x, fused(c, p, set(0.5f)));
}

/* e^x for x <= 0, to 2e-7 of itself: 2^n times a polynomial of what is left of the exponent. */
static inline Floats exp_below_zero(Floats x)
{
    const Floats t = multiply(larger(x, set(-87.0f)), set(1.44269504f));
    const Floats n = nearest(t), f = subtract(t, n);
    Floats p = set(1.5403530e-4f);
    p = fused(p, f, set(1.3333558e-3f));
    p = fused(p, f, set(9.6181291e-3f));
    p = fused(p, f, set(5.5504109e-2f));
    p = fused(p, f, set(2.4022651e-1f));
    p = fused(p, f, set(6.9314718e-1f));
    p = fused(p, f, set(1.0f));
    return times_power_of_two(p, n);
}

/* x (1 + tanh(u)) / 2 = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
static inline Floats gelu_tanh(Floats x)
{
    const Floats cubed = multiply(multiply(x, x), x);
    const Floats u = multiply(fused(cubed, set(0.044715f), x), set(-1.59576912f)); /* -2u */
    const Floats e = exp_below_zero(subtract(set(0.0f), magnitude(u)));
    const Floats share = divide(set(1.0f), add(set(1.0f), e)); /* for u <= 0 as it is */
    return multiply(x, where_negative(u, share, multiply(e, share)));
}

static inline Floats activate(Floats x, int activation)
{
    switch (activation) {
    case GELU: return gelu(x);
    case GELU_TANH: return gelu_tanh(x);
    case RELU: return larger(x, set(0.0f));
    default: return x;
    }
}

/* out (rows, width) = activation(a times one panel of the matrix + bias), that panel's columns. */
static inline __attribute__((always_inline)) void multiply_panel_with(
    const Product *p, Quantized a, int rows, int panel, int activation, float *out)
{
    const int8_t *weights = p->panels + (size_t)panel * PANEL * p->depth;
    const int blocks = (rows + ROWS - 1) / ROWS;
    for (int b = 0, row = 0; b < blocks; b++) {
        const int size = (rows - row + blocks - b - 1) / (blocks - b); /* as equal as can be */
        const uint8_t *bytes = a.q + (size_t)row * p->depth;
        Ints sums[ROWS][2];
        switch (size) {
#define CASE(n) case n: dot_##n(bytes, p->depth, weights, p->depth, sums); break;
            EACH_ROW_COUNT(CASE)
#undef CASE
        }
        for (int half = 0; half < 2; half++) {
            const int column = panel * PANEL + half * LANES;
            const Ints total = load_ints(p->sums + column);
            const Floats scale = load(p->scale + column), bias = load(p->bias + column);
            for (int r = row; r < row + size; r++) {
                const Ints middle = multiply_ints(set_ints(a.zero[r]), total);
                const Floats real = to_floats(subtract_ints(sums[r - row][half], middle));
                const Floats y = fused(multiply(real, set(a.scale[r])), scale, bias);
                store(out + (size_t)r * p->width + column, activate(y, activation));
            }
        }
        row += size;
    }
}

static void multiply_panel(
    const Product *p, Quantized a, int rows, int panel, int activation, float *out)
{
    switch (activation) {
    case GELU: multiply_panel_with(p, a, rows, panel, GELU, out); break;
    case NO_ACTIVATION: multiply_panel_with(p, a, rows, panel, NO_ACTIVATION, out); break;
    default: multiply_panel_with(p, a, rows, panel, activation, out);
    }
}

static void product(const Product *p, Quantized a, int rows, float *out)
{
    for (int row = 0; row < rows; row += BLOCK_ROWS)
        for (int panel = 0; panel < p->width / PANEL; panel++)
            multiply_panel(p, a, rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS, panel,
                           NO_ACTIVATION, out);
}

/* Quantize one row of `n` floats; bytes from n to depth are zero. */
static void quantize_row(const float *x, int n, int depth, uint8_t *q, float *scale, int32_t *zero)
{
    Floats low = set(0.0f), high = set(0.0f);
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        const Floats each = load(x + i);
        low = smaller(low, each);
        high = larger(high, each);
    }
    float least = -largest_of(subtract(set(0.0f), low)), most = largest_of(high);
    for (int j = i; j < n; j++) {
        least = x[j] < least ? x[j] : least;
        most = x[j] > most ? x[j] : most;
    }
    const float step = most > least ? (most - least) / LEVELS : 1.0f;
    const float inverse = 1.0f / step;
    const int32_t middle = (int32_t)(0.5f - least * inverse);
    *scale = step;
    *zero = middle;
    const Floats factor = set(inverse), shift = set((float)middle + 0.5f);
    i = 0;
    for (; i + LANES <= n; i += LANES)
        store_bytes(q + i, smaller(fused(load(x + i), factor, shift), set((float)LEVELS + 0.5f)));
    for (; i < n; i++) {
        const float each = x[i] * inverse + (float)middle + 0.5f;
        q[i] = (uint8_t)(each < LEVELS + 0.5f ? each : LEVELS + 0.5f);
    }
    for (; i < depth; i++)
        q[i] = 0;
}

/* ---- row by row ------------------------------------------------------------------------- */

/* x = norm(x + y), of `n` floats; y may be absent. */
static void norm_row(float *x, const float *y, int n, Norm norm, float epsilon)
{
    Floats sums = set(0.0f);
    float sum = 0.0f, square = 0.0f;
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        Floats each = load(x + i);
        if (y) {
            each = add(each, load(y + i));
            store(x + i, each);
        }
        sums = add(sums, each);
    }
    for (; i < n; i++) {
        x[i] += y ? y[i] : 0.0f;
        sum += x[i];
    }
    const float mean = (sum + sum_of(sums)) / n;
    Floats squares = set(0.0f);
    for (i = 0; i + LANES <= n; i += LANES) {
        const Floats each = subtract(load(x + i), set(mean));
        squares = fused(each, each, squares);
    }
    for (; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    const float factor = 1.0f / sqrtf((square + sum_of(squares)) / n + epsilon);
    for (i = 0; i + LANES <= n; i += LANES) {
        const Floats each = multiply(subtract(load(x + i), set(mean)), set(factor));
        store(x + i, fused(each, load(norm.weight + i), load(norm.bias + i)));
    }
    for (; i < n; i++)
        x[i] = (x[i] - mean) * factor * norm.weight[i] + norm.bias[i];
}

static void embed_row(const Parts *parts, int id, int position, float *x)
{
    const int n = parts->embedding_dim;
    const float *place = parts->position + (size_t)position * n;
    const size_t at = (size_t)id * n;
    if (parts->table == TABLE_INT8) {
        const uint8_t *row = (const uint8_t *)parts->tokens + at;
        const float scale = parts->token_scale[id];
        for (int i = 0; i < n; i++)
            x[i] = (float)(row[i] - 128) * scale + place[i];
    } else if (parts->table == TABLE_INT4) {
        const uint8_t *row = (const uint8_t *)parts->tokens + at / 2;
        const float scale = parts->token_scale[id];
        for (int i = 0; i < n; i++)
            x[i] = (float)((row[i / 2] >> (i % 2 * 4) & 15) - 8) * scale + place[i];
    } else {
        const float *row = (const float *)parts->tokens + at;
        for (int i = 0; i < n; i++)
            x[i] = row[i] + place[i];
    }
}

/* ---- attention -------------------------------------------------------------------------- */

/* out (rows, width) = a (rows, depth) b (depth, width); width in whole pairs of vectors. */
static inline __attribute__((always_inline)) void multiply_floats(
    const float *a, size_t a_stride, const float *b, size_t width, int depth, int rows, float *out)
{
    for (size_t column = 0; column < width; column += 2 * LANES) {
        Floats sums[QUERY_ROWS][2];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            sums[r][0] = sums[r][1] = set(0.0f);
        for (int k = 0; k < depth; k++) {
            const Floats b0 = load(b + k * width + column);
            const Floats b1 = load(b + k * width + column + LANES);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                const Floats x = set(a[r * a_stride + k]);
                sums[r][0] = fused(x, b0, sums[r][0]);
                sums[r][1] = fused(x, b1, sums[r][1]);
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            store(out + r * width + column, sums[r][0]);
            store(out + r * width + column + LANES, sums[r][1]);
        }
    }
}

/* Scores of one query to shares that sum to 1; what is behind the text gets none. */
static void softmax(float *scores, int tokens, int width)
{
    for (int j = tokens; j < width; j++)
        scores[j] = -INFINITY;
    Floats most = set(-INFINITY), total = set(0.0f);
    for (int j = 0; j < width; j += LANES)
        most = larger(most, load(scores + j));
    const Floats highest = set(largest_of(most));
    for (int j = 0; j < width; j += LANES) {
        const Floats each = exp_below_zero(subtract(load(scores + j), highest));
        store(scores + j, each);
        total = add(total, each);
    }
    for (int j = tokens; j < width; j++) /* e^-87, each of them */
        scores[j] = 0.0f;
    const Floats share = set(1.0f / sum_of(total));
    for (int j = 0; j < width; j += LANES)
        store(scores + j, multiply(load(scores + j), share));
}

/* Some queries of one head over all keys of a text. */
static inline __attribute__((always_inline)) void attend_rows(
    const float *query, size_t stride, const float *keys, const float *values, float *scores,
    int tokens, int width, int head_dim, int head_width, int rows, float *mixed)
{
    multiply_floats(query, stride, keys, width, head_dim, rows, scores);
    for (int r = 0; r < rows; r++)
        softmax(scores + (size_t)r * width, tokens, width);
    multiply_floats(scores, width, values, head_width, tokens, rows, mixed);
}

/* One head of one text: query, key and value are (tokens, stride), the context likewise. */
static void attend(
    const float *qkv, size_t stride, int heads, int head_dim, int tokens, float *scratch,
    float *context, size_t context_stride)
{
    const int width = round_up(tokens, PANEL), mixed_width = round_up(head_dim, PANEL);
    float *keys = scratch, *values = keys + (size_t)width * head_dim;
    float *scores = values + (size_t)tokens * mixed_width;
    float *mixed = scores + (size_t)QUERY_ROWS * width;
    const float *key = qkv + (size_t)heads * head_dim, *value = key + (size_t)heads * head_dim;
    for (int d = 0; d < head_dim; d++) {
        for (int t = 0; t < tokens; t++)
            keys[(size_t)d * width + t] = key[t * stride + d];
        for (int t = tokens; t < width; t++)
            keys[(size_t)d * width + t] = 0.0f;
    }
    for (int t = 0; t < tokens; t++) {
        memcpy(values + (size_t)t * mixed_width, value + t * stride, sizeof(float) * head_dim);
        for (int d = head_dim; d < mixed_width; d++)
            values[(size_t)t * mixed_width + d] = 0.0f;
    }
    for (int t = 0; t < tokens; t += QUERY_ROWS) {
        const int rows = tokens - t < QUERY_ROWS ? tokens - t : QUERY_ROWS;
        switch (rows) {
#define CASE(n)                                                                                    \
    case n:                                                                                        \
        attend_rows(qkv + t * stride, stride, keys, values, scores, tokens, width, head_dim,       \
                    mixed_width, n, mixed);                                                        \
        break;
            CASE(1) CASE(2) CASE(3) CASE(4)
#undef CASE
        }
        for (int r = 0; r < rows; r++)
            memcpy(context + (t + r) * context_stride, mixed + (size_t)r * mixed_width,
                   sizeof(float) * head_dim);
    }
}

/* ---- the whole -------------------------------------------------------------------------- */

typedef struct {
    const Encoder *encoder;
    Workspace *space;
    Texts texts;
    Team *team;
    int tokens;
    double *seconds;
} Pass;

static double now(const Pass *pass)
{
    struct timespec time = {0, 0};
    if (pass->seconds)
        clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Counts what has passed since `began` for a stage; the time it is now. */
static double count(const Pass *pass, int stage, double began)
{
    const double ended = now(pass);
    if (pass->seconds)
        pass->seconds[stage] += ended - began;
    return ended;
}

typedef struct {
    const Product *product;
    Quantized input;
    int rows, activation;
    float *out;
} Multiplication;

static void multiply_item(void *context, int panel, int member)
{
    (void)member;
    const Multiplication *m = context;
    multiply_panel(m->product, m->input, m->rows, panel, m->activation, m->out);
}

/* Quantizes `rows` rows of x, `stride` floats apart, and multiplies them; out (rows, width). */
static void linear(
    const Pass *pass, int stage, const Product *product, const float *x, size_t stride, int rows,
    int activation, float *out)
{
    const Quantized q = pass->space->quantized;
    const double began = now(pass);
    for (int r = 0; r < rows; r++)
        quantize_row(x + r * stride, product->in, product->depth, q.q + (size_t)r * product->depth,
                     q.scale + r, q.zero + r);
    const double quantized = count(pass, QUANTIZE, began);
    Multiplication m = {product, q, rows, activation, out};
    share(pass->team, multiply_item, &m, product->width / PANEL, 0);
    count(pass, stage, quantized);
}

typedef struct {
    const Pass *pass;
    const Layer *layer;
} Attention;

static void attend_item(void *context, int item, int member)
{
    const Attention *attention = context;
    const Pass *pass = attention->pass;
    const Layer *layer = attention->layer;
    const int head_dim = pass->encoder->parts.head_dim;
    const int text = item / layer->heads, head = item % layer->heads;
    const int first = pass->texts.start[text] - pass->texts.start[0];
    const int tokens = pass->texts.start[text + 1] - pass->texts.start[text];
    const size_t stride = layer->qkv.width, context_stride = (size_t)layer->heads * head_dim;
    attend(pass->space->qkv + first * stride + (size_t)head * head_dim, stride, layer->heads,
           head_dim, tokens, pass->space->attention + member * pass->space->attention_size,
           pass->space->context + first * context_stride + (size_t)head * head_dim,
           context_stride);
}

/* x = norm(x + what was added), of some rows. */
static void norm_rows(const Pass *pass, float *x, int added_width, int rows, Norm norm)
{
    const Parts *parts = &pass->encoder->parts;
    const double began = now(pass);
    for (int r = 0; r < rows; r++)
        norm_row(x + (size_t)r * parts->dim, pass->space->added + (size_t)r * added_width,
                 parts->dim, norm, parts->epsilon);
    count(pass, NORM, began);
}

static void run_layer(const Pass *pass, const Layer *layer)
{
    const Parts *parts = &pass->encoder->parts;
    Workspace *space = pass->space;
    const int dim = parts->dim;
    const size_t context = (size_t)layer->heads * parts->head_dim;
    for (int row = 0; row < pass->tokens; row += BLOCK_ROWS) {
        const int rows = pass->tokens - row < BLOCK_ROWS ? pass->tokens - row : BLOCK_ROWS;
        linear(pass, QKV, &layer->qkv, space->x + (size_t)row * dim, dim, rows, NO_ACTIVATION,
               space->qkv + (size_t)row * layer->qkv.width);
    }
    Attention attention = {pass, layer};
    const double began = now(pass);
    share(pass->team, attend_item, &attention, pass->texts.count * layer->heads, 0);
    count(pass, ATTEND, began);
    for (int row = 0; row < pass->tokens; row += BLOCK_ROWS) {
        const int rows = pass->tokens - row < BLOCK_ROWS ? pass->tokens - row : BLOCK_ROWS;
        float *x = space->x + (size_t)row * dim;
        linear(pass, ATTENTION_OUTPUT, &layer->attention_output, space->context + row * context,
               context, rows, NO_ACTIVATION, space->added);
        norm_rows(pass, x, layer->attention_output.width, rows, layer->attention_norm);
        linear(pass, INTERMEDIATE, &layer->intermediate, x, dim, rows, parts->activation,
               space->hidden);
        linear(pass, OUTPUT, &layer->output, space->hidden, layer->intermediate.width, rows,
               NO_ACTIVATION, space->added);
        norm_rows(pass, x, layer->output.width, rows, layer->output_norm);
    }
}

static void embed(const Pass *pass)
{
    const Encoder *encoder = pass->encoder;
    const Parts *parts = &encoder->parts;
    Workspace *space = pass->space;
    const int n = parts->embedding_dim, narrow = encoder->projection.in > 0;
    float *x = narrow ? space->hidden : space->x;
    for (int text = 0, row = 0; text < pass->texts.count; text++) {
        const int from = pass->texts.start[text], to = pass->texts.start[text + 1];
        for (int t = from; t < to; t++, row++) {
            float *at = narrow ? x : x + (size_t)row * n;
            embed_row(parts, pass->texts.ids[t], t - from, at);
            norm_row(at, NULL, n, parts->embedding_norm, parts->epsilon);
            if (narrow) {
                linear(pass, EMBED, &encoder->projection, x, n, 1, NO_ACTIVATION, space->added);
                memcpy(space->x + (size_t)row * parts->dim, space->added,
                       sizeof(float) * parts->dim);
            }
        }
    }
}

static void pool(const Parts *parts, const float *x, int tokens, float *out)
{
    const int dim = parts->dim;
    if (!tokens) {
        memset(out, 0, sizeof(float) * dim);
        return;
    }
    memcpy(out, x, sizeof(float) * dim);
    if (parts->pooling != POOL_CLS)
        for (int t = 1; t < tokens; t++) {
            const float *row = x + (size_t)t * dim;
            if (parts->pooling == POOL_MAX)
                for (int i = 0; i < dim; i++)
                    out[i] = row[i] > out[i] ? row[i] : out[i];
            else
                for (int i = 0; i < dim; i++)
                    out[i] += row[i];
        }
    float factor = parts->pooling == POOL_MEAN ? 1.0f / tokens : 1.0f;
    if (parts->normalize) {
        double square = 0.0;
        for (int i = 0; i < dim; i++)
            square += (double)out[i] * out[i];
        const float length = sqrtf((float)square) * factor;
        factor /= length > 1e-12f ? length : 1e-12f;
    }
    for (int i = 0; i < dim; i++)
        out[i] *= factor;
}

static void forward(
    const Encoder *encoder, Workspace *space, Texts texts, Team *team, float *out, double *seconds)
{
    const int tokens = texts.start[texts.count] - texts.start[0];
    const Pass pass = {encoder, space, texts, team, tokens, seconds};
    double began = now(&pass);
    embed(&pass);
    count(&pass, EMBED, began);
    for (int i = 0; i < encoder->parts.layers; i++)
        run_layer(&pass, encoder->layers + i);
    began = now(&pass);
    const size_t dim = encoder->parts.dim;
    for (int i = 0; i < texts.count; i++)
        pool(&encoder->parts, space->x + (size_t)(texts.start[i] - texts.start[0]) * dim,
             texts.start[i + 1] - texts.start[i], out + i * dim);
    count(&pass, POOL, began);
}
