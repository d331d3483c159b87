/* Inner products with vectors that are stored in 16 bits. */
#ifndef TRIMSEEK_FLOAT16_H
#define TRIMSEEK_FLOAT16_H

#include <stdint.h>

/*
 * The inner product of a query with one of `vectors`. It is summed in 16 lanes, whatever the CPU,
 * so that equal vectors have equal products everywhere, to the bit.
 */
float product_with(const uint16_t *vector, const float *query, int dim);

#endif
