// What insitu adds to the steps of a C++ application: the mini-app of examples/cpp alone and with a session, in turn.
// Usage: mpirun -n N ./overhead CASE.yaml FOLDER STEPS ROUNDS POINTS EVERY [POINTS EVERY ...]; rank 0 prints one line
// of JSON each.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <insitu/insitu.hpp>
#include <vector>

#include "burgers.hpp"

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class Body>
static double microseconds_each(int steps, Body &&body) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto begin = std::chrono::steady_clock::now();
  for (int step = 0; step < steps; ++step) body();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  double own = 1e6 * taken.count() / steps, slowest = 0;
  MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

static void measure(char **arguments, int points, int every, occa::device device) {
  const int steps = std::atoi(arguments[3]), rounds = std::atoi(arguments[4]);
  const Line line(points);
  const double dx = 6.283185307 / points, dt = 1e-8;
  Burgers burgers(device, line, dx, 0.01, dt);
  insitu::Options options;
  options.output = arguments[2];
  options.overrides = {{"sampling.every", std::to_string(every)}, {"sampling.window", "16"}};
  insitu::Session session(arguments[1], options);
  insitu::Domain domain;
  domain.points = {points};
  domain.extent = {{0.0, 6.283185307}};
  domain.begin = {line.begin};
  domain.block = {line.points};
  session.declare(domain);
  insitu::Layout layout;
  layout.ghost = {1};
  session.add("u", burgers.u, layout);

  std::vector<char> from(8 * line.points), to(8 * line.points);
  std::vector<double> alone, coupled, copied;
  double time = 0;
  for (int round = 0; round < rounds + 1; ++round) {
    const double plain = microseconds_each(steps, [&] { burgers.step(); });
    const double with = microseconds_each(steps, [&] {
      burgers.step();
      session.step(time += dt);
    });
    const double copy = microseconds_each(steps, [&] { std::memcpy(to.data(), from.data(), from.size()); });
    if (round == 0) continue;  // the first step makes the ring
    alone.push_back(plain);
    coupled.push_back(with);
    copied.push_back(copy);
  }
  if (line.rank == 0) {
    std::printf(
        "{\"ranks\": %d, \"points\": %d, \"every\": %d, \"alone_us\": %.3f, \"coupled_us\": %.3f, \"memcpy_us\": "
        "%.3f}\n",
        line.ranks, points, every, median(alone), median(coupled), median(copied));
    std::fflush(stdout);
  }
}

int main(int count, char **arguments) {
  MPI_Init(&count, &arguments);
  {
    occa::device device = open_device("Serial");
    for (int i = 5; i + 1 < count; i += 2)
      measure(arguments, std::atoi(arguments[i]), std::atoi(arguments[i + 1]), device);
  }
  MPI_Finalize();
  return 0;
}
