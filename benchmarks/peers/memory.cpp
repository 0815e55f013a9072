// Buffers first touched by the threads that use them, and the roof: a copy.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC memory.cpp -o memory.so

#include "lanes.hpp"

extern "C" double *buffer(long count) {
  double *memory = reserved(count);
#pragma omp parallel for schedule(static)
  for (long i = 0; i < count; ++i) memory[i] = 0;
  return memory;
}

constexpr int AHEAD = 1024;

// One read and one write of count doubles, a multiple of LANES, past the caches.
extern "C" void copy_streamed(const double *from, double *to, long count) {
#pragma omp parallel for schedule(static)
  for (long i = 0; i < count; i += LANES) {
    __builtin_prefetch(from + i + AHEAD);
    stream(to + i, load(from + i));
  }
}
