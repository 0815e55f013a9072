// What a host kernel of OCCA 1 needs of the header it includes: the mathematical functions. The full header costs a second
// of compile time for every kernel. And what OKL has no words for: prefetching, and stores past the caches.
#pragma once
#include <math.h>
#include <string.h>

namespace occa {}

template <typename T>
static inline void prefetch_row(const T *row, int n) {
  for (int i = 0; i < n; i += 64 / (int) sizeof(T)) __builtin_prefetch(row + i, 0, 3);
}

#if defined(__AVX512F__) && !defined(__clang__)
typedef long long insitu_line __attribute__((vector_size(64), may_alias));
#define INSITU_STREAM_LINE(to, from) __builtin_ia32_movntdq512((insitu_line *) (to), from)
#elif defined(__AVX__) && !defined(__clang__)
typedef long long insitu_line __attribute__((vector_size(32), may_alias));
#define INSITU_STREAM_LINE(to, from) __builtin_ia32_movntdq256((insitu_line *) (to), from)
#endif

// Copies a row past the caches where it is aligned. What was streamed is seen by others after stream_end().
template <typename T>
static inline void stream_row(T *to, const T *from, int n) {
#ifdef INSITU_STREAM_LINE
  const int width = sizeof(insitu_line) / sizeof(T);
  int i = 0;
  for (; i < n && (unsigned long) (to + i) % sizeof(insitu_line); ++i) to[i] = from[i];
  for (; i + width <= n; i += width) {
    insitu_line line;
    memcpy(&line, from + i, sizeof line);
    INSITU_STREAM_LINE(to + i, line);
  }
  for (; i < n; ++i) to[i] = from[i];
#else
  memcpy(to, from, n * sizeof(T));
#endif
}

static inline void stream_end() {
#ifdef INSITU_STREAM_LINE
  __builtin_ia32_sfence();
#endif
}
