#include <dlfcn.h>
#include <link.h>
#include <pybind11/embed.h>
#include <pybind11/stl.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <insitu/insitu.hpp>
#include <iostream>

#if OCCA_VERSION >= 20000
#include <occa/utils/env.hpp>
#else
#include <occa/tools/env.hpp>
#if OCCA_CUDA_ENABLED && __has_include(<cuda.h>)
#include <occa/mode/cuda/stream.hpp>
#define INSITU_HAS_CUDA_STREAM
#endif
#endif

namespace py = pybind11;
using namespace pybind11::literals;

namespace insitu {
namespace {
// The tensor of the DLPack protocol, version 0: https://dmlc.github.io/dlpack/latest/c_api.html
struct DLTensor {
  void *data;
  struct {
    std::int32_t type, id;
  } device;
  std::int32_t ndim;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void *context;
  void (*deleter)(DLManagedTensor *);
};

#if OCCA_VERSION >= 20000
std::size_t bytes_of(const occa::memory &memory) { return memory.byte_size(); }
#else
std::size_t bytes_of(const occa::memory &memory) { return memory.size(); }
#endif

// The OCCA of a wheel is found without the application's help, which a host kernel needs when it is compiled.
#ifdef INSITU_OCCA_DIR
const bool knows_occa = [] {
  if (!std::getenv("OCCA_DIR")) occa::env::OCCA_DIR = INSITU_OCCA_DIR "/";
  return true;
}();
#endif

// The application's kernels are built where and against what it says: the extension points OCCA elsewhere while it
// builds.
class KernelCache {
 public:
  KernelCache() : directory_(occa::env::OCCA_DIR), cache_(occa::env::OCCA_CACHE_DIR) {
#if OCCA_VERSION >= 20000
    installed_ = occa::env::OCCA_INSTALL_DIR;
#endif
  }
  ~KernelCache() {
    occa::env::OCCA_DIR = directory_;
    occa::env::OCCA_CACHE_DIR = cache_;
#if OCCA_VERSION >= 20000
    occa::env::OCCA_INSTALL_DIR = installed_;
#endif
  }
  KernelCache(const KernelCache &) = delete;

 private:
  std::string directory_, cache_, installed_;
};

std::string described(const py::error_already_set &failure) {
  try {
    const py::object lines = py::module_::import("traceback").attr("format_exception")(failure.value());
    return py::str("").attr("join")(lines).attr("rstrip")().cast<std::string>();
  } catch (py::error_already_set &) {
    return failure.what();
  }
}

// Runs Python code with the GIL, and leaves Python before a failure goes on as a C++ exception.
template <class Body>
auto guarded(Body &&body) {
  std::string type, text;
  {
    const KernelCache kept;
    const py::gil_scoped_acquire held;
    try {
      return body();
    } catch (py::error_already_set &failure) {
      type = py::str(failure.type().attr("__name__"));
      text = described(failure);
    }
  }
  throw error(type, text);
}

py::module_ embedding() { return py::module_::import("insitu.application.embedding"); }

std::string python_executable() {
  const char *asked = std::getenv("INSITU_PYTHON"), *environment = std::getenv("VIRTUAL_ENV");
  if (asked) return asked;
  if (std::FILE *recorded = std::fopen(INSITU_PYTHON, "rb")) {
    std::fclose(recorded);
    return INSITU_PYTHON;
  }
  if (environment) return std::string(environment) + "/bin/python";
  throw error("RuntimeError", "Python must be where the application was built against it, " INSITU_PYTHON
                              " is gone; set INSITU_PYTHON to the interpreter of the environment that has insitu");
}

void start_python() {
  if (Py_IsInitialized()) return;
  // Extension modules find Python's symbols in the global scope, wherever this code was loaded.
  Dl_info found{};
  if (dladdr(reinterpret_cast<void *>(&Py_IsInitialized), &found)) {
    dlopen(found.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
  }
  const std::string executable = python_executable();
  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.parse_argv = 0;
  config.install_signal_handlers = 0;
  config.buffered_stdio = 0;
  PyConfig_SetBytesString(&config, &config.program_name, executable.c_str());
  PyConfig_SetBytesString(&config, &config.executable, executable.c_str());
  const char *arguments[] = {"application"};
  try {
    py::initialize_interpreter(&config, 1, arguments, false);
  } catch (const std::exception &failure) {
    throw error("RuntimeError", std::string("Python cannot be started as ") + executable + ": " + failure.what() +
                                    "; set INSITU_PYTHON to the interpreter of the environment that has insitu");
  }
  PyEval_SaveThread();  // the GIL belongs to whoever asks for it
}

int count_occa(dl_phdr_info *library, std::size_t, void *count) {
  const char *name = std::strrchr(library->dlpi_name, '/');
  *static_cast<int *>(count) += name && !std::strncmp(name + 1, "libocca.so", 10);
  return 0;
}

void require_one_occa() {
  const auto version = py::module_::import("solver._occa").attr("occa_version_number").cast<int>();
  int libraries = 0;
  dl_iterate_phdr(&count_occa, &libraries);
  if (libraries != 1 || version != OCCA_VERSION) {
    throw error("RuntimeError",
                "the application and insitu must use one OCCA, got " + std::to_string(libraries) +
                    " libraries, version " + OCCA_VERSION_STR + " in the application and " + std::to_string(version) +
                    " in insitu; install insitu with OCCA_DIR, or link the OCCA that find_package(insitu) gives");
  }
}

std::terminate_handler next_handler = nullptr;

void end_all() {
  if (const std::exception_ptr pending = std::current_exception()) {
    try {
      std::rethrow_exception(pending);
    } catch (const error &failure) {
      fail(failure);
    } catch (...) {
    }
  }
  if (next_handler) next_handler();
  std::abort();
}

#ifdef INSITU_HAS_MPI
bool is_mpi_running() {
  int begun = 0, ended = 0;
  MPI_Initialized(&begun);
  MPI_Finalized(&ended);
  return begun && !ended;
}

// mpi4py loads the MPI library that its environment has, unless it is told which.
void tell_mpi_library() {
  Dl_info found{};
  void *own = dlsym(RTLD_DEFAULT, "PMPI_Init");
  if (own && dladdr(own, &found)) setenv("MPI4PY_LIBMPI", found.dli_fname, 0);
}
#endif

std::string device_name(occa::device device) {
  const std::string mode = device.mode();
  if (mode == "Serial" || mode == "OpenMP" || mode == "OpenCL") return mode;
  return mode + ":" + std::to_string(static_cast<int>(device.properties().get("device_id", 0)));
}

// The handle of the stream on which the application launches; 0 where there is none.
std::uintptr_t stream_of(occa::device device) {
  const std::string mode = device.mode();
  if (mode != "CUDA" && mode != "HIP") return 0;
#if OCCA_VERSION >= 20000
  occa::stream stream = device.getStream();
  return *static_cast<std::uintptr_t *>(stream.unwrap());
#elif defined(INSITU_HAS_CUDA_STREAM)
  return reinterpret_cast<std::uintptr_t>(
      static_cast<occa::cuda::stream *>(device.getStream().getModeStream())->cuStream);
#else
  return 0;
#endif
}

std::string dtype_of(occa::memory memory, const std::string &asked) {
  const std::string name = asked.empty() ? memory.dtype().name() : asked;
  if (name == "double" || name == "float64") return "float64";
  if (name == "float" || name == "float32") return "float32";
  throw error("CaseError", "a field must hold float or double values, got '" + name +
                               "'; allocate it with that type or give Layout::dtype");
}

// OCCA 1 ends a device with its last handle, whatever still lives on it: each holder of memory keeps one.
struct Tensor {
  DLManagedTensor managed;
  occa::device device;
  occa::memory memory;
  std::int64_t size;
};

// Shows memory to Python by DLPack; a copy of its handle lives as long as the view.
py::object shown(occa::memory memory, const std::string &asked) {
  if (!memory.isInitialized()) throw error("CaseError", "a field must have memory, got none; allocate it first");
  const std::string mode = memory.getDevice().mode(), name = device_name(memory.getDevice());
  const std::string dtype = dtype_of(memory, asked);
  const int type = mode == "CUDA" ? 2 : mode == "HIP" ? 10 : mode == "OpenCL" ? 4 : 1;
  const auto colon = name.find(':');
  const int id = colon == std::string::npos ? 0 : std::stoi(name.substr(colon + 1));
  const py::cpp_function capsule([memory, dtype, type, id]() mutable {
    auto *tensor = new Tensor{};
    tensor->device = memory.getDevice();
    tensor->memory = memory;
    const std::uint8_t bits = dtype == "float64" ? 64 : 32;
    tensor->size = static_cast<std::int64_t>(bytes_of(memory) / (bits / 8));
    tensor->managed.tensor = {memory.ptr(), {type, id}, 1, {2, bits, 1}, &tensor->size, nullptr, 0};
    tensor->managed.context = tensor;
    tensor->managed.deleter = [](DLManagedTensor *self) { delete static_cast<Tensor *>(self->context); };
    return py::capsule(&tensor->managed, "dltensor", [](PyObject *unused) {
      if (!PyCapsule_IsValid(unused, "dltensor")) return;
      auto *managed = static_cast<DLManagedTensor *>(PyCapsule_GetPointer(unused, "dltensor"));
      managed->deleter(managed);
    });
  });
  return embedding().attr("Shown")(capsule, py::make_tuple(type, id), name);
}

// What Python is given for a field: its memory, or why it cannot be shown, for all ranks to be told.
py::object shown_or_reason(occa::memory memory, const std::string &asked) {
  try {
    return shown(memory, asked);
  } catch (const error &failure) {
    return embedding().attr("Refused")(failure.what());
  }
}

struct Field {
  std::string name;
  occa::device device;
  occa::memory memory;
  void *pointer;
};
}  // namespace

void fail(const std::exception &failure) noexcept {
  std::cout.flush();
  std::fflush(nullptr);
  bool is_told = false;
  try {
    if (Py_IsInitialized()) guarded([&] { embedding().attr("fail")(failure.what()); });
  } catch (const error &end) {
    is_told = end.type() == "SystemExit";
  } catch (...) {
  }
  if (!is_told) {
    std::cerr << failure.what() << std::endl;
#ifdef INSITU_HAS_MPI
    if (is_mpi_running()) MPI_Abort(MPI_COMM_WORLD, 1);
#endif
  }
  std::_Exit(1);
}

struct Session::State {
  py::object session, tell;
  std::vector<Field> fields;
  std::map<std::string, std::string> dtypes;  // of fields, for memory without a type
  std::int64_t step = 0, next = 1;
  bool is_finished = false, owns_mpi = false;

  void show(const char *method, const std::string &name, occa::memory memory, const Layout &layout) {
    guarded(
        [&] { session.attr(method)(name, shown_or_reason(memory, layout.dtype), layout.components, layout.ghost); });
    dtypes[name] = dtype_of(memory, layout.dtype);
    fields.push_back({name, memory.getDevice(), memory, memory.ptr()});
  }
};

Session::Session(const std::string &case_file, const Options &options) : state_(new State) {
  static const bool is_first = [] {
    next_handler = std::set_terminate(&end_all);
    return true;
  }();
  (void)is_first;
  py::object comm;
  long handle = -1;
#ifdef INSITU_HAS_MPI
  if (options.comm != MPI_COMM_NULL) {
    int is_begun = 0;
    MPI_Initialized(&is_begun);
    if (!is_begun) {
      int provided = 0;
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
      state_->owns_mpi = true;
    }
    tell_mpi_library();
    handle = MPI_Comm_c2f(options.comm);
  }
#endif
  start_python();
  guarded([&] {
    py::module_ module;
    try {
      module = embedding();
    } catch (py::error_already_set &failure) {
      if (!failure.matches(PyExc_ImportError)) throw;
      py::raise_from(
          failure, PyExc_ImportError,
          "insitu cannot be imported here; it must be installed in the environment of INSITU_PYTHON, and built "
          "against the application's own OCCA");
      throw py::error_already_set();
    }
    require_one_occa();
    state_->session = module.attr("Session")(case_file, options.overrides, options.output, handle);
    state_->tell = state_->session.attr("step");
  });
}

Session::~Session() {
  if (!state_->session) return;
  {
    const KernelCache kept;
    const py::gil_scoped_acquire held;
    try {
      state_->session.attr("abandon")();
    } catch (py::error_already_set &failure) {
      failure.discard_as_unraisable("insitu::Session::~Session");
    }
    state_->tell = py::object();
    state_->session = py::object();
  }
#ifdef INSITU_HAS_MPI
  if (state_->owns_mpi && state_->is_finished) MPI_Finalize();
#endif
}

double Session::number(const std::string &key) const {
  return guarded([&] { return py::float_(state_->session.attr("value")(key)).cast<double>(); });
}

std::string Session::text(const std::string &key) const {
  return guarded([&] { return py::str(state_->session.attr("value")(key)).cast<std::string>(); });
}

void Session::declare(const Domain &domain) {
  guarded([&] {
    state_->session.attr("declare")(domain.points, domain.extent, domain.periodic, domain.begin, domain.block);
  });
}

void Session::add(const std::string &name, const occa::memory &memory, const Layout &layout) {
  state_->show("register", name, memory, layout);
}

void Session::add_target(const std::string &name, const occa::memory &memory, const Layout &layout) {
  state_->show("register_target", name, memory, layout);
}

void Session::update() {
  guarded([&] { state_->session.attr("update")(); });
}

void Session::step(double time) {
  if (++state_->step < state_->next) return;
  std::string gone;
  std::uintptr_t stream = 0;
  for (Field &field : state_->fields) {
    if (!field.memory.isInitialized() || field.memory.ptr() != field.pointer) {
      gone = field.name;
    } else {
      stream = stream_of(field.device);
    }
  }
  state_->next = guarded([&] { return state_->tell(time, state_->step, stream, gone).cast<std::int64_t>(); });
}

void Session::learn() {
  guarded([&] { state_->session.attr("learn")(); });
}

void Session::forecast(int snapshots, const std::string &field, const occa::memory &target) {
  const auto known = state_->dtypes.find(field);
  const bool is_untyped = target.isInitialized() && occa::memory(target).dtype() == occa::dtype::byte;
  const std::string asked = is_untyped && known != state_->dtypes.end() ? known->second : "";
  guarded([&] { state_->session.attr("forecast")(snapshots, field, shown_or_reason(target, asked)); });
}

std::vector<double> Session::coefficients() const {
  return guarded([&] { return state_->session.attr("coefficients")().cast<std::vector<double>>(); });
}

void Session::finish() {
  guarded([&] { state_->session.attr("finish")(); });
  state_->is_finished = true;
  state_->fields.clear();
}

std::string Session::table() const {
  return guarded([&] { return state_->session.attr("table")().cast<std::string>(); });
}

double Session::seconds() const {
  return guarded([&] { return state_->session.attr("seconds").cast<double>(); });
}

}  // namespace insitu
