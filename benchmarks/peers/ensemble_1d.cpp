// An ensemble of periodic 1-D Burgers equations, each member with its own viscosity.
//
// LANES members side by side: member m of a group is lane m, point i is column
// i, so a step needs no shuffle. A group stays in L1 (16 KB at 256 points) for
// the whole run, LEVELS steps at a time stay in registers.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC ensemble_1d.cpp -o ensemble_1d.so

#include <algorithm>

#include "sweep.hpp"

namespace {

#ifndef LEVELS
#define LEVELS 8
#endif

template <int STEPS>
void steps_of(double *v, int points, Lanes rd, Lanes keep) {
  for (int ghost = 0; ghost < STEPS; ++ghost) {
    store(v + long(points + ghost) * LANES, load(v + long(ghost) * LANES));
    store(v + long(ghost - STEPS) * LANES, load(v + long(points - STEPS + ghost) * LANES));
  }
  sweep<STEPS>(v, points, rd, keep);
}

}  // namespace

// u: (members, points), in place; rd: (members,); points >= LEVELS.
extern "C" void ensemble(double *u, const double *rd, double ra, int members, int points, int steps) {
#pragma omp parallel
  {
    double *memory = static_cast<double *>(std::aligned_alloc(64, sizeof(double) * LANES * (points + 2 * LEVELS)));
    double *group = memory + LANES * LEVELS;
#pragma omp for schedule(static)
    for (int first = 0; first < members; first += LANES) {
      const int count = std::min(LANES, members - first);
      Lanes viscous;
      for (int lane = 0; lane < LANES; ++lane) {
        const long member = first + std::min(lane, count - 1);
        viscous[lane] = rd[member];
        for (int i = 0; i < points; ++i) group[i * LANES + lane] = ra * u[member * points + i];
      }
      const Lanes keep = 1 - 2 * viscous;
      int left = steps;
      for (; left >= LEVELS; left -= LEVELS) steps_of<LEVELS>(group, points, viscous, keep);
      for (; left; --left) steps_of<1>(group, points, viscous, keep);
      for (int lane = 0; lane < count; ++lane)
        for (int i = 0; i < points; ++i) u[long(first + lane) * points + i] = group[i * LANES + lane] / ra;
    }
    std::free(memory);
  }
}
