// OCCA's own launch from C++: clearArgs, pushArg for each argument, run. Microseconds per launch, best of the repeats.
// Usage: launch_overhead PROPERTIES SOURCE.okl KERNEL POINTERS LAUNCHES REPEATS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <occa.hpp>
#include <string>
#include <vector>

int main(int, char **arguments) {
#if OCCA_VERSION >= 20000
  occa::device device(occa::json::parse(arguments[1]));
#else
  occa::device device{occa::properties(arguments[1])};
#endif
  occa::kernel kernel = device.buildKernel(arguments[2], arguments[3]);
  const int pointers = std::atoi(arguments[4]), launches = std::atoi(arguments[5]), repeats = std::atoi(arguments[6]);
  std::vector<occa::memory> memories;
  for (int i = 0; i < pointers; ++i) memories.push_back(device.malloc(8, occa::dtype::byte));
  double best = 1e300;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (int launch = 0; launch < launches; ++launch) {
      kernel.clearArgs();
      kernel.pushArg(static_cast<int>(1));
      if (pointers > 1) kernel.pushArg(2.0);
      for (auto &memory : memories) kernel.pushArg(memory);
      kernel.run();
    }
    const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - begin;
    best = std::min(best, elapsed.count() / launches);
  }
  std::printf("%.6f\n", best);
}
