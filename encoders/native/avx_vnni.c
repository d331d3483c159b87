/* The encoder in AVX-VNNI. */
#if defined(__x86_64__)
#if defined(EMULATED) /* the tests replace instructions that this CPU lacks with plain C */
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#include <immintrin.h>
#else
#pragma GCC target("avx2,fma,avxvnni")
#include <immintrin.h>
#endif
#include <math.h>
#include <string.h>
#include <time.h>

#include "encoder.h"
#define VNNI
#include "avx2.h"
#include "forward.inc"

const Kernels avx_vnni_kernels = {"avx_vnni", PANEL, forward, product};
#if defined(__clang__) && !defined(EMULATED)
#pragma clang attribute pop
#endif
#endif
