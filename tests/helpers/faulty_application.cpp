// Uses insitu wrongly and goes on; ends by an exception of its own, which nobody catches.
#include <insitu/insitu.hpp>
#include <iostream>

#if OCCA_VERSION >= 20000
static occa::device serial() { return occa::device(occa::json::parse("{mode: 'Serial'}")); }
#else
static occa::device serial() { return occa::device(occa::properties("{mode: 'Serial'}")); }
#endif

template <class Body>
static void told(const char *what, Body &&body) {
  try {
    body();
    std::cout << what << ": nothing" << std::endl;
  } catch (const insitu::error &error) {
    const std::string text = error.what();
    const bool has_trace = text.rfind("Traceback", 0) == 0;
    std::cout << what << ": " << error.type() << (has_trace ? " with traceback, " : ", ")
              << text.substr(text.rfind('\n') + 1) << std::endl;
  }
}

int main(int, char **argv) {
  insitu::Options options;
  options.output = argv[2];
  occa::device device = serial();
  const double zeros[256] = {};
  told("no case", [&] { insitu::Session session("absent.yaml", options); });
  {
    insitu::Session session(argv[1], options);
    told("absent key", [&] { session.number("grid.spacing"); });
    told("integers", [&] { session.add("u", device.malloc(256, occa::dtype::int_)); });
    told("too small", [&] { session.add("u", device.malloc(10, occa::dtype::double_)); });
    session.add("u", device.malloc(256, occa::dtype::double_, zeros));
    for (int step = 1; step <= 3; ++step) session.step(0.1 * step);
    told("integers read", [&] { session.forecast(1, "u", device.malloc(256, occa::dtype::int_)); });
    told("bytes read", [&] { session.forecast(1, "u", device.malloc(2048, occa::dtype::byte)); });
    told("abandoned", [] {});
  }
  insitu::Session session(argv[1], options);
  occa::memory u = device.malloc(256, occa::dtype::double_, zeros);
  session.add("u", u);
  session.step(0.1);
  u.free();
  told("freed", [&] { session.step(0.2); });
  throw std::runtime_error("of the application");
}
