// The 1-D Burgers mini-app on OCCA: its kernels, its part of a periodic line, its halo exchange by MPI. It knows no
// insitu.
#pragma once
#include <mpi.h>

#include <cmath>
#include <occa.hpp>
#include <string>
#include <vector>

#if OCCA_VERSION >= 20000
inline occa::json properties(const std::string &text) { return occa::json::parse(text); }
#else
inline occa::properties properties(const std::string &text) { return occa::properties(text); }
#endif

// The part of the periodic line that a rank owns, and who its neighbours are.
struct Line {
  int rank = 0, ranks = 1, points, begin;
  explicit Line(int total) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    begin = total * rank / ranks;
    points = total * (rank + 1) / ranks - begin;
  }
  int left() const { return (rank + ranks - 1) % ranks; }
  int right() const { return (rank + 1) % ranks; }
};

// No contraction of a * b + c, as insitu's own kernels have it.
inline occa::device open_device(const std::string &mode) {
  return occa::device(
      properties("{mode: '" + mode + "', kernel: {compiler_flags: '-O3 -march=native -ffp-contract=off'}}"));
}

class Burgers {
 public:
  Burgers(occa::device device, const Line &line, double dx, double nu, double dt)
      : line_(line), d_(nu * dt / (dx * dx)), c_(dt / (2 * dx)) {
    std::vector<double> start(line.points + 2, 0.0);
    for (int i = 0; i < line.points; ++i) start[i + 1] = std::sin(dx * (line.begin + i));
    u = device.malloc(start.size(), occa::dtype::double_, start.data());
    next_ = device.malloc(start.size(), occa::dtype::double_, start.data());
    ends_ = device.malloc(2, occa::dtype::double_);
    // One rank after the other: OCCA 1 is not safe where several compile one kernel.
    for (int turn = 0; turn < line.ranks; ++turn) {
      if (turn == line.rank) build(device);
      MPI_Barrier(MPI_COMM_WORLD);
    }
  }

  void step() {
    double mine[2], theirs[2];
    pack_(line_.points, u, ends_);
    ends_.copyTo(mine);
    MPI_Sendrecv(&mine[1], 1, MPI_DOUBLE, line_.right(), 0, &theirs[0], 1, MPI_DOUBLE, line_.left(), 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    MPI_Sendrecv(&mine[0], 1, MPI_DOUBLE, line_.left(), 1, &theirs[1], 1, MPI_DOUBLE, line_.right(), 1, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    ends_.copyFrom(theirs);
    exchange_(line_.points, ends_, u);
    advance_(line_.points, d_, c_, u, next_);
    u.copyFrom(next_);
  }

  occa::memory u;  // points of this rank between one ghost at either end

 private:
  void build(occa::device device) {
    const auto flags = properties("{defines: {MODE_" + device.mode() + ": 1}}");
    pack_ = device.buildKernel(OKL_FILE, "pack", flags);
    exchange_ = device.buildKernel(OKL_FILE, "exchange", flags);
    advance_ = device.buildKernel(OKL_FILE, "advance", flags);
  }

  Line line_;
  double d_, c_;
  occa::memory next_, ends_;
  occa::kernel pack_, exchange_, advance_;
};
