// 1-D Burgers in vectors, several steps in the registers on one way through the cache.
//
//   u_i <- u_i + rd ((u_{i+1} + u_{i-1}) - 2 u_i) - ra (u_{i+1} - u_{i-1}) u_i
//
// in terms of v = ra u:  v_i <- (rd - v_i) v_{i+1} + (rd + v_i) v_{i-1} + (1 - 2 rd) v_i,
// five operations, of which the newest value, v_{i+1}, waits for one only.
//
// Level l of column i is one step on from level l-1 of columns i-1, i, i+1.
// Each level keeps its last two columns in registers; a column is loaded once
// and stored STEPS steps later.

#pragma once

#include "lanes.hpp"

inline Lanes burgers(Lanes before, Lanes v, Lanes after, Lanes rd, Lanes keep) {
  return after * (rd - v) + (before * (rd + v) + keep * v);
}

// Columns 0 .. columns-1 STEPS steps on, in place. Columns -STEPS .. -1 and
// columns .. columns+STEPS-1 hold the neighbours. keep = 1 - 2 rd.
template <int STEPS>
inline void sweep(double *v, int columns, Lanes rd, Lanes keep) {
  Lanes before[STEPS] = {}, here[STEPS] = {};
  auto advance = [&](int column) __attribute__((always_inline)) {
    Lanes next = load(v + long(column) * LANES);
#pragma GCC unroll 16
    for (int level = 0; level < STEPS; ++level) {
      const Lanes result = burgers(before[level], here[level], next, rd, keep);
      before[level] = here[level];
      here[level] = next;
      next = result;
    }
    return next;
  };
  for (int column = -STEPS; column < STEPS; ++column) advance(column);
#pragma GCC unroll 2
  for (int column = STEPS; column < columns + STEPS; ++column) store(v + long(column - STEPS) * LANES, advance(column));
}
