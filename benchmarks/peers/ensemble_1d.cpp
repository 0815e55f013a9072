// An ensemble of periodic 1-D Burgers equations, each member with its own viscosity.
//
// A member is a lifted row (lanes.hpp) and stays in L1 for the whole run; at
// the usual size a step is one block of straight code, with what fits of the
// row in registers from one step to the next. The neighbours of a row's ends
// are its other end, turned by a lane.
//
// Other forms, in ms on a Zen 5 where this one takes 13.0: members side by
// side, 8 steps at a time in registers 16.2; the same, a step at a time 30.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC ensemble_1d.cpp -o ensemble_1d.so

#include <algorithm>

#include "sweep.hpp"

namespace {

constexpr int MOST = 64, USUAL = 256 / LANES;  // columns

#define INLINE inline __attribute__((always_inline))

INLINE void step(const Lanes *from, Lanes *to, int columns, Lanes rd, Lanes keep) {
  const Lanes first = from[0], last = from[columns - 1];
  Lanes before = shifted_right(last, last), here = first;
#pragma GCC unroll 64
  for (int column = 0; column < columns; ++column) {
    const Lanes after = column + 1 < columns ? from[column + 1] : shifted_left(first, first);
    to[column] = burgers(before, here, after, rd, keep);
    before = here;
    here = after;
  }
}

INLINE void march(double *u, int columns, double viscous, double ra, int steps) {
  Lanes a[MOST], b[MOST];
  for (int column = 0; column < columns; ++column)
    for (int lane = 0; lane < LANES; ++lane) a[column][lane] = ra * u[lane * columns + column];
  const Lanes rd = splat(viscous), keep = splat(1 - 2 * viscous);
  for (int pair = 0; pair < steps / 2; ++pair) {
    step(a, b, columns, rd, keep);
    step(b, a, columns, rd, keep);
  }
  if (steps % 2) {
    step(a, b, columns, rd, keep);
    std::copy(b, b + columns, a);
  }
  for (int column = 0; column < columns; ++column)
    for (int lane = 0; lane < LANES; ++lane) u[lane * columns + column] = a[column][lane] / ra;
}

}  // namespace

// u: (members, points), in place; rd: (members,); points a multiple of LANES, at most MOST * LANES.
extern "C" void ensemble(double *u, const double *rd, double ra, int members, int points, int steps) {
  const int columns = points / LANES;
#pragma omp parallel for schedule(static)
  for (int member = 0; member < members; ++member) {
    if (columns == USUAL)
      march(u + long(member) * points, USUAL, rd[member], ra, steps);
    else
      march(u + long(member) * points, columns, rd[member], ra, steps);
  }
}
