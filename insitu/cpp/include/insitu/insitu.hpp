// In-situ learning for an OCCA application: it hands its fields to a pipeline that a case file describes, tells each of
// its steps, and reads results back into its own memory. Fields are seen in place; the only copies are snapshots, on
// the device. All ranks of the communicator make the same calls, from the thread that made the session. See
// examples/cpp.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <occa.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef INSITU_HAS_MPI
#include <mpi.h>
#endif

namespace insitu {

// What went wrong in Python: what() is the traceback. Where it is not caught all ranks end, non-zero, with this text
// once.
class error : public std::runtime_error {
 public:
  error(std::string type, const std::string &text) : std::runtime_error(text), type_(std::move(type)) {}
  const std::string &type() const noexcept { return type_; }  // the class of the Python exception, as "CaseError"

 private:
  std::string type_;
};

// Tell why and end all ranks, as an uncaught insitu::error does; for applications that catch it and cannot go on.
[[noreturn]] void fail(const std::exception &error) noexcept;

struct Options {
  std::string output = "out";                    // run directory
  std::map<std::string, std::string> overrides;  // of the case, by dotted key: {"sampling.every", "10"}
#ifdef INSITU_HAS_MPI
  // MPI is begun here, and ended with the session, where the application has not begun it. MPI_COMM_NULL: no ranks.
  MPI_Comm comm = MPI_COMM_WORLD;
#endif
};

// The whole grid, and which block of it this rank has: `begin` is where its first point stands.
struct Domain {
  std::vector<std::int64_t> points;
  std::vector<std::array<double, 2>> extent;
  std::vector<bool> periodic;              // of each axis; empty: all
  std::vector<std::int64_t> begin, block;  // empty: the whole grid
};

// How a field lies in its memory: (components, points + 2 ghost along each axis), row-major.
struct Layout {
  int components = 1;
  std::vector<int> ghost;  // points on each side of each axis; empty: none
  std::string dtype;       // "float64" or "float32"; empty: that of the memory
};

class Session {
 public:
  // Begin a pipeline; Python is started where the application has none. Throws insitu::error, as all of these do.
  explicit Session(const std::string &case_file, const Options &options = {});

  // Without finish() the run is noted as failed; waits for no other rank.
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  // What the case has under a dotted key, "equation.init_args.nu" or "grid.points.0"; numbers as they are, the rest as
  // text.
  double number(const std::string &key) const;
  std::string text(const std::string &key) const;

  // Where the case has a grid too, both must agree; it may be left out on one rank then.
  void declare(const Domain &domain);

  // Snapshots have all fields, in this order. The memory must stay where it is until finish().
  void add(const std::string &name, const occa::memory &memory, const Layout &layout = {});

  // Memory into which the case's closure writes its field, after fields are added: by update() for the initial state,
  // by step() after every `closure.every` steps.
  void add_target(const std::string &name, const occa::memory &memory, const Layout &layout = {});
  void update();

  // The fields hold the result of one more step, which ended at this simulated time. What fails on one rank is thrown
  // on all. The GIL is held inside only; steps that need no snapshot cost a comparison.
  void step(double time);

  // Fit basis and models to the snapshots so far; finish() does it, this is for results that are wanted before.
  void learn();

  // Write the model's forecast of a field, so many snapshots after the newest, into memory laid out as the field's own.
  void forecast(int snapshots, const std::string &field, const occa::memory &target);

  // The newest snapshot's coefficients in the basis, the same on every rank.
  std::vector<double> coefficients() const;

  // Learn, write the run directory, and let the application's memory go. Results can be read afterwards.
  void finish();

  // The table of forecast errors that `insitu run` prints.
  std::string table() const;

  // Seconds spent in step() so far, those of the snapshots.
  double seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace insitu
