// Periodic 1-D Burgers on a long line: one step a pass over memory, and many.
//
//   u_i <- u_i + rd ((u_{i+1} + u_{i-1}) - 2 u_i) - ra (u_{i+1} - u_{i-1}) u_i
//
// one_pass: every step reads one buffer and streams into the other.
// blocked:  overlapped tiles of TILE points in L1/L2, `per_pass` steps on each.
//           A tile is lifted (lanes.hpp) as it is read and laid flat as it is
//           written; inside, LEVELS steps at a time stay in registers (sweep.hpp).
//           What creeps in from a tile's ends reaches one point a step; so far
//           the tiles overlap.
//
// Both: two buffers of n points; the result is in the one that is returned.
// n is a multiple of LANES for one_pass, any n >= TILE + 2 per_pass for blocked.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC burgers_1d.cpp -o burgers_1d.so

#include <algorithm>
#include <utility>

#include "sweep.hpp"

namespace {

#ifndef TILE
#define TILE 16384
#endif
#ifndef LEVELS
#define LEVELS 5
#endif
#ifndef STREAM
#define STREAM 1
#endif

void keep(double *at, Lanes x) {
#if STREAM
  stream(at, x);
#else
  store(at, x);
#endif
}

// A tile of columns * LANES points from `start`, lifted and scaled by ra.
void lift(const double *u, long n, long start, double *tile, int columns, double ra) {
  const long points = long(columns) * LANES;
  if (start < 0 || start + points > n) {
    for (long p = 0; p < points; ++p) tile[p % columns * LANES + p / columns] = ra * u[((start + p) % n + n) % n];
    return;
  }
  for (int column = 0; column < columns; column += LANES) {
    Lanes block[LANES];
    for (int lane = 0; lane < LANES; ++lane) block[lane] = ra * load(u + start + long(lane) * columns + column);
    transpose(block);
    for (int k = 0; k < LANES; ++k) store(tile + (column + k) * LANES, block[k]);
  }
}

// The points [overlap, overlap + count) of a tile to `into`.
void flatten(double *tile, int columns, int overlap, long count, double *into, double ra) {
  const double back = 1 / ra;
  if (count % LANES || reinterpret_cast<size_t>(into) % sizeof(Lanes)) {
    for (long p = overlap; p < overlap + count; ++p) into[p - overlap] = back * tile[p % columns * LANES + p / columns];
    return;
  }
  for (int column = 0; column < columns; column += LANES) {
    Lanes block[LANES];
    for (int k = 0; k < LANES; ++k) block[k] = back * load(tile + (column + k) * LANES);
    transpose(block);
    for (int lane = 0; lane < LANES; ++lane) {
      const long p = long(lane) * columns + column - overlap;
      if (p >= 0 && p < count) keep(into + p, block[lane]);
    }
  }
}

// The first column follows the last one of the lane before.
template <int STEPS>
void steps_of(double *tile, int columns, Lanes rd, Lanes keep) {
  for (int ghost = 0; ghost < STEPS; ++ghost) {
    const Lanes first = load(tile + ghost * LANES);
    const Lanes last = load(tile + long(columns - STEPS + ghost) * LANES);
    store(tile + long(columns + ghost) * LANES, shifted_left(first, first));
    store(tile + (ghost - STEPS) * LANES, shifted_right(last, last));
  }
  sweep<STEPS>(tile, columns, rd, keep);
}

void march(double *tile, int columns, Lanes rd, int steps) {
  const Lanes keep = 1 - 2 * rd;
  for (; steps >= LEVELS; steps -= LEVELS) steps_of<LEVELS>(tile, columns, rd, keep);
  for (; steps; --steps) steps_of<1>(tile, columns, rd, keep);
}

void pass(const double *u, double *next, long n, double rd, double ra, int steps) {
  constexpr int BLOCK = LANES * LANES;
  const int overlap = (steps + LANES - 1) / LANES * LANES;
  const int columns = (TILE + 2 * overlap + BLOCK - 1) / BLOCK * LANES;
  const long inside = long(columns) * LANES - 2 * overlap;
#pragma omp parallel
  {
    auto *memory = static_cast<double *>(std::aligned_alloc(64, sizeof(double) * LANES * (columns + 2 * LEVELS)));
    double *tile = memory + LANES * LEVELS;
#pragma omp for schedule(static)
    for (long start = 0; start < n; start += inside) {
      lift(u, n, start - overlap, tile, columns, ra);
      march(tile, columns, splat(rd), steps);
      flatten(tile, columns, overlap, std::min(inside, n - start), next + start, ra);
    }
    std::free(memory);
  }
}

void step(const double *u, double *next, long n, double rd, double ra) {
  auto point = [=](double um, double c, double up) { return c + rd * ((up + um) - 2 * c) - ra * (up - um) * c; };
#pragma omp parallel for schedule(static)
  for (long i = LANES; i < n - LANES; i += LANES) {
    const Lanes um = load(u + i - 1), c = load(u + i), up = load(u + i + 1);
    keep(next + i, c + rd * ((up + um) - 2 * c) - ra * (up - um) * c);
  }
  for (int i = 0; i < LANES; ++i) next[i] = point(u[i ? i - 1 : n - 1], u[i], u[i + 1]);
  for (long i = n - LANES; i < n; ++i) next[i] = point(u[i - 1], u[i], u[i + 1 < n ? i + 1 : 0]);
}

}  // namespace

extern "C" double *one_pass(double *u, double *other, long n, double rd, double ra, int steps) {
  for (; steps; --steps) {
    step(u, other, n, rd, ra);
    std::swap(u, other);
  }
  return u;
}

extern "C" double *blocked(double *u, double *other, long n, double rd, double ra, int steps, int per_pass) {
  while (steps) {
    const int now = std::min(steps, per_pass);
    pass(u, other, n, rd, ra, now);
    std::swap(u, other);
    steps -= now;
  }
  return u;
}
