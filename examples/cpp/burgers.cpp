// The 1-D Burgers mini-app as a C++ program on OCCA, with halo exchange by MPI and its field in an in-situ pipeline:
//   mpirun -n 2 ./burgers jobs/burgers.yaml --output out/cpp [--mode Serial] [--dump FILE] [--KEY VALUE ...]
// --dump writes a forecast, read back into the application's own memory; other flags are keys of the case.
#include "burgers.hpp"

#include <chrono>
#include <fstream>
#include <insitu/insitu.hpp>
#include <iostream>
#include <map>

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
  insitu::Options options;
  options.output = take("output", "out/cpp");
  options.overrides = flags;

  insitu::Session session(case_file, options);
  const double length = session.number("grid.extent.0.1"), dt = session.number("time.dt");
  const int total = static_cast<int>(session.number("grid.points.0"));
  const int steps = static_cast<int>(session.number("time.steps"));
  const Line line(total);
  const double dx = length / total;

  occa::device device = open_device(mode);
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
    session.step(step * dt);
  }
  device.finish();
  const double seconds = now() - start;
  if (line.rank == 0) {
    std::cout << "seconds " << seconds << " for " << steps << " steps, " << session.seconds() << " of them in insitu\n";
  }

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
  for (int i = 2; i + 1 < argc; i += 2) flags[std::string(argv[i]).substr(2)] = argv[i + 1];
  run(argv[1], flags);
  MPI_Finalize();
  return 0;
}
