// Several steps on one way through memory, slice by slice (rows of a plane, planes of a volume).
//
// Slices of the state at level 0 come from memory, those of the last level go
// to memory. Each level between keeps two slices: level l of slice q needs
// level l-1 of q-1, q, q+1, and its result may overwrite q-1 point by point,
// which nobody needs any more. So LEVELS steps need 2 (LEVELS - 1) + 1 slices
// in the cache.
//
//   slice:   q-1   q   q+1
//   level 0   .    .    r        from memory
//   level 1   .   [r-1]          <- level 0 of r-2, r-1, r
//   level 2  [r-2]               <- level 1 of r-3, r-2, r-1
//
// The slices of a chunk [first, last) need LEVELS slices more on both sides.

#pragma once

#include <utility>
#include <vector>

// slices: 2 levels - 1 buffers. update(level, slice, behind, middle, ahead,
// out): one step of a slice, levels 1 .. levels; behind, middle, ahead are null
// at level 1 (read memory), out is null at the last (write memory).
template <typename Update>
void advance_chunk(int first, int last, int levels, double *const *slices, const Update &update) {
  if (levels == 1) {
    for (int q = first; q < last; ++q) update(1, q, nullptr, nullptr, nullptr, nullptr);
    return;
  }
  std::vector<double *> behind(slices, slices + levels - 1);
  std::vector<double *> middle(slices + levels - 1, slices + 2 * levels - 2);
  double *free = slices[2 * levels - 2];
  const int start = first - levels + 1;
  for (int r = start; r < last + levels - 1; ++r) {
    double *ahead = free;
    update(1, r, nullptr, nullptr, nullptr, ahead);
    for (int level = 2; level <= levels; ++level) {
      double *&b = behind[level - 2], *&m = middle[level - 2];
      double *out = b;
      const bool ready = r >= start + 2 * (level - 1);
      if (ready) update(level, r - level + 1, b, m, ahead, level < levels ? out : nullptr);
      b = m;
      m = ahead;
      ahead = out;
      if (!ready || level == levels) {
        free = out;
        break;
      }
    }
  }
}
