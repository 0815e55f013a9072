// The 1-D Burgers mini-app as a C++ program on OCCA, with halo exchange by MPI and its field in an in-situ pipeline:
//   mpirun -n 2 ./burgers jobs/burgers.yaml --output out/cpp [--mode Serial] [--alone] [--KEY VALUE ...]
// --alone runs without insitu; other flags are keys of the case.
#include <mpi.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <insitu/insitu.hpp>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <occa.hpp>
#include <string>
#include <vector>

#if OCCA_VERSION >= 20000
static occa::json properties(const std::string &text) { return occa::json::parse(text); }
#else
static occa::properties properties(const std::string &text) { return occa::properties(text); }
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

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void run(const std::string &case_file, std::map<std::string, std::string> flags) {
  const auto take = [&](const std::string &name, const std::string &otherwise) {
    const auto found = flags.find(name);
    if (found == flags.end()) return otherwise;
    const std::string value = found->second;
    flags.erase(found);
    return value;
  };
  const std::string mode = take("mode", "Serial"), dump = take("dump", "");
  const bool is_alone = take("alone", "no") == "yes";
  insitu::Options options;
  options.output = take("output", "out/cpp");
  options.overrides = flags;

  insitu::Session session(case_file, options);
  const double length = session.number("grid.extent.0.1"), dt = session.number("time.dt");
  const int total = static_cast<int>(session.number("grid.points.0"));
  const int steps = static_cast<int>(session.number("time.steps"));
  const Line line(total);
  const double dx = length / total;

  // No contraction of a * b + c, as insitu's own kernels have it.
  const std::string compiler = "-O3 -march=native -ffp-contract=off";
  occa::device device(properties("{mode: '" + mode + "', kernel: {compiler_flags: '" + compiler + "'}}"));
  Burgers burgers(device, line, dx, session.number("equation.init_args.nu"), dt);

  insitu::Domain domain;
  domain.points = {total};
  domain.extent = {{0.0, length}};
  domain.begin = {line.begin};
  domain.block = {line.points};
  session.declare(domain);
  insitu::Layout layout;
  layout.ghost = {1};
  session.add("u", burgers.u, layout);

  MPI_Barrier(MPI_COMM_WORLD);
  const double start = now();
  for (int step = 1; step <= steps; ++step) {
    burgers.step();
    if (!is_alone) session.step(step * dt);
  }
  device.finish();
  const double seconds = now() - start;
  if (line.rank == 0) {
    std::cout << "seconds " << seconds << " for " << steps << " steps, " << session.seconds() << " of them in insitu\n";
  }
  if (is_alone) return;

  session.finish();
  occa::memory forecast = device.malloc(line.points + 2, occa::dtype::double_, burgers.u);
  session.forecast(100, "u", forecast);
  if (!dump.empty()) {
    std::vector<double> values(line.points + 2);
    forecast.copyTo(values.data());
    std::ofstream file(dump + "-" + std::to_string(line.rank));
    file.precision(17);
    for (int i = 1; i <= line.points; ++i) file << values[i] << "\n";
  }
  if (line.rank == 0) std::cout << session.table() << "\n";
}

int main(int argc, char **argv) {
  if (argc < 2) {
    std::cerr << "a case file is expected, as in ./burgers jobs/burgers.yaml --output out/cpp\n";
    return 2;
  }
  MPI_Init(&argc, &argv);
  std::map<std::string, std::string> flags;
  for (int i = 2; i < argc; ++i) {
    const std::string name = std::string(argv[i]).substr(2);
    if (name == "alone") {
      flags[name] = "yes";
    } else if (++i < argc) {
      flags[name] = argv[i];
    }
  }
  run(argv[1], flags);
  MPI_Finalize();
  return 0;
}
