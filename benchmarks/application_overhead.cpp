// What insitu adds to the steps of a C++ application: the mini-app of examples/cpp alone and with a session, in turn.
// Usage: mpirun -n N ./overhead CASE.yaml FOLDER STEPS ROUNDS POINTS EVERY [POINTS EVERY ...]; rank 0 prints one line
// of JSON each.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <insitu/insitu.hpp>
#include <vector>

#include "burgers.hpp"

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Of a step: the time that passed, and the processor's time in this thread, which other jobs disturb less.
struct Taken {
  double wall = 0, cpu = 0;
};

static double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

template <class Body>
static Taken microseconds_each(int steps, Body &&body) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto begin = std::chrono::steady_clock::now();
  const double begin_cpu = thread_seconds();
  for (int step = 0; step < steps; ++step) body();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  const Taken own{1e6 * taken.count() / steps, 1e6 * (thread_seconds() - begin_cpu) / steps};
  Taken slowest;
  MPI_Allreduce(&own, &slowest, 2, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

static void measure(char **arguments, int points, int every, int steps, occa::device device) {
  const int rounds = std::atoi(arguments[3]);
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
  std::vector<double> alone, coupled, copied, alone_cpu, coupled_cpu;
  double time = 0;
  for (int round = 0; round < rounds + 1; ++round) {
    const Taken plain = microseconds_each(steps, [&] { burgers.step(); });
    const Taken with = microseconds_each(steps, [&] {
      burgers.step();
      session.step(time += dt);
    });
    const Taken copy = microseconds_each(steps, [&] { std::memcpy(to.data(), from.data(), from.size()); });
    if (round == 0) continue;  // the first step makes the ring
    alone.push_back(plain.wall);
    alone_cpu.push_back(plain.cpu);
    coupled.push_back(with.wall);
    coupled_cpu.push_back(with.cpu);
    copied.push_back(copy.cpu);
  }
  if (line.rank == 0) {
    std::printf(
        "{\"ranks\": %d, \"points\": %d, \"every\": %d, \"steps\": %d, \"alone_us\": %.3f, \"coupled_us\": %.3f, "
        "\"alone_cpu_us\": %.3f, \"coupled_cpu_us\": %.3f, \"memcpy_us\": %.3f}\n",
        line.ranks, points, every, steps, median(alone), median(coupled), median(alone_cpu), median(coupled_cpu),
        median(copied));
    std::fflush(stdout);
  }
}

int main(int count, char **arguments) {
  MPI_Init(&count, &arguments);
  {
    occa::device device = open_device("Serial");
    for (int i = 4; i + 2 < count; i += 3) {
      measure(arguments, std::atoi(arguments[i]), std::atoi(arguments[i + 1]), std::atoi(arguments[i + 2]), device);
    }
  }
  MPI_Finalize();
  return 0;
}
