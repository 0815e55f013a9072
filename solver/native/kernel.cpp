// A compiled OKL kernel with the signature its translated source states: every launch is checked here, before OCCA,
// which checks nothing on CUDA and OpenCL and misreads 64-bit integers.
#include <dlfcn.h>
#include <pthread.h>
#include <pybind11/stl.h>

#include <cmath>
#include <limits>

#include "memory.hpp"
#include "occa_compat.hpp"

namespace {
constexpr size_t kMaxArguments = OCCA_MAX_ARGS - 2, kMaxSteps = 32;

// The C++ object inside a Python one of exactly its type or a subclass.
template <class T>
T *native(PyObject *object) {
  return static_cast<T *>(reinterpret_cast<py::detail::instance *>(object)->get_value_and_holder().value_ptr());
}

// A step of a length's postfix program over the integer arguments: a constant, an argument, or + - * /.
struct Step {
  char operation;
  int64_t value;
};

struct Parameter {
  std::string name;
  Dtype dtype;
  bool is_pointer, is_const;
  std::vector<Step> length;  // elements a pointer must hold at least; empty: not declared

  bool is_integer() const { return dtype == Dtype::int32 || dtype == Dtype::int64; }
};

// One checked argument of a launch.
struct Value {
  Memory *memory = nullptr;
  int64_t integer = 0;
  double real = 0;
};

PyTypeObject *memory_type = nullptr;

// Holds this thread's OpenMP kernels to a number of threads; 0 leaves it alone. A team that has no work to share only
// waits for its slowest member, for milliseconds where cores are busy.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) {
    if (!threads || !set() || !max()) return;
    before_ = max()();
    set()(threads);
  }
  ~ThreadLimit() {
    if (before_) set()(before_);
  }
  ThreadLimit(const ThreadLimit &) = delete;

 private:
  using Set = void (*)(int);
  using Max = int (*)();
  static Set set() {
    static const auto found = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    return found;
  }
  static Max max() {
    static const auto found = reinterpret_cast<Max>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
    return found;
  }
  int before_ = 0;
};

// Before a fork: the threads of this thread's teams end, and the next launch starts new ones. A child would wait for
// them for ever: it has their addresses, but they stayed behind.
void dismiss_team() {
  using Pause = int (*)(int);
  constexpr int soft = 1;
  const auto pause = reinterpret_cast<Pause>(dlsym(RTLD_DEFAULT, "omp_pause_resource_all"));
  if (pause) pause(soft);
}

struct Kernel {
  DevicePtr device;
  occa::kernel handle;
  std::string name;
  std::vector<Parameter> parameters;
  int threads = 0;  // of an OpenMP launch; 0: all

  Kernel() = default;
  Kernel(const Kernel &) = delete;
  ~Kernel() {
    if (!device || !interpreter_is_alive()) return;
    DeviceLock lock(*device);
    try {
      device->enter();
      handle = occa::kernel();
    } catch (...) {
    }
  }

  [[noreturn]] void refuse(const Parameter &parameter, const std::string &problem) const {
    throw Error{"ArgumentError", "kernel '" + name + "', argument '" + parameter.name + "': " + problem};
  }

  static std::string declaration(const Parameter &parameter) {
    return std::string(info(parameter.dtype).name) + (parameter.is_pointer ? " memory" : "");
  }

  static std::string type_of(const py::handle &given) { return py::str(py::type::of(given).attr("__name__")); }

  int64_t integer(const Parameter &parameter, const py::handle &given) const {
    py::object index;
    PyObject *number = given.ptr();
    if (!PyLong_CheckExact(number)) {
      index = py::reinterpret_steal<py::object>(PyNumber_Index(number));
      if (!index) {
        PyErr_Clear();
        refuse(parameter,
               "expected an integer (" + declaration(parameter) + "), got " + type_of(given) + "; pass an int");
      }
      number = index.ptr();
    }
    int overflow = 0;
    const int64_t value = PyLong_AsLongLongAndOverflow(number, &overflow);
    const bool is_narrow = parameter.dtype == Dtype::int32;
    if (overflow || (is_narrow && value != static_cast<int32_t>(value))) {
      refuse(parameter, "expected a value that fits " + declaration(parameter) + ", got " +
                            std::string(py::str(number)) +
                            (is_narrow ? "; declare it long in the kernel" : "; pass a smaller one"));
    }
    return value;
  }

  double real(const Parameter &parameter, const py::handle &given) const {
    const double value =
        PyFloat_CheckExact(given.ptr()) ? PyFloat_AS_DOUBLE(given.ptr()) : PyFloat_AsDouble(given.ptr());
    if (value == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      refuse(parameter, "expected a number (" + declaration(parameter) + "), got " + type_of(given) + "; pass a float");
    }
    if (parameter.dtype == Dtype::float32 && std::isfinite(value) &&
        std::abs(value) > std::numeric_limits<float>::max()) {
      refuse(parameter, "expected a value that fits float32, got " + std::string(py::repr(given)) +
                            "; declare it double in the kernel");
    }
    return value;
  }

  Memory &memory(const Parameter &parameter, const py::handle &given) const {
    if (Py_TYPE(given.ptr()) != memory_type && !py::isinstance<Memory>(given)) {
      refuse(parameter, "expected " + declaration(parameter) + ", got " + type_of(given) +
                            "; allocate it or use device.wrap(array)");
    }
    auto &memory = *native<Memory>(given.ptr());
    memory.require_alive();
    if (memory.allocation->device != device) {
      refuse(parameter, "expected memory of this kernel's device, got " + memory.describe() +
                            " of another; allocate it on the same device");
    }
    if (memory.dtype != parameter.dtype) {
      refuse(parameter, "expected " + declaration(parameter) + ", got " + memory.describe() + "; match the dtype");
    }
    if (!memory.is_contiguous()) {
      refuse(parameter,
             "expected contiguous memory, got strided " + memory.describe() + "; pass the memory it was sliced from");
    }
    if (memory.readonly && !parameter.is_const) {
      refuse(parameter, "expected writable memory, got read-only " + memory.describe() + "; wrap a writable array");
    }
    return memory;
  }

  // The postfix program's value; what does not fit 64 bits is larger than any memory.
  static int64_t evaluate(const std::vector<Step> &program, const Value *values) {
    constexpr int64_t kTooLarge = std::numeric_limits<int64_t>::max();
    int64_t stack[kMaxSteps];
    int top = -1;
    for (const Step &step : program) {
      if (step.operation == 'c') {
        stack[++top] = step.value;
      } else if (step.operation == 'a') {
        stack[++top] = values[step.value].integer;
      } else {
        const int64_t right = stack[top--];
        int64_t &left = stack[top];
        bool overflow = false;
        if (step.operation == '+') overflow = __builtin_add_overflow(left, right, &left);
        if (step.operation == '-') overflow = __builtin_sub_overflow(left, right, &left);
        if (step.operation == '*') overflow = __builtin_mul_overflow(left, right, &left);
        if (step.operation == '/') left = right > 0 ? left / right : kTooLarge;
        if (overflow) return kTooLarge;
      }
    }
    return stack[0];
  }

  void check_lengths(const Value *values) const {
    for (size_t position = 0; position < parameters.size(); ++position) {
      const auto &parameter = parameters[position];
      if (parameter.length.empty()) continue;
      const int64_t needed = evaluate(parameter.length, values);
      if (values[position].memory->size() < needed) {
        refuse(parameter, "expected at least " + std::to_string(needed) + " elements, got " +
                              values[position].memory->describe() + "; allocate more or pass a smaller size");
      }
    }
  }

  void push(const Parameter &parameter, const Value &value) {
    if (parameter.is_pointer) {
      value.memory->require_alive();  // another thread may have freed it while this one waited
      handle.pushArg(value.memory->range());
    } else if (parameter.dtype == Dtype::int32) {
      handle.pushArg(static_cast<int32_t>(value.integer));
    } else if (parameter.dtype == Dtype::int64) {
      handle.pushArg(value.integer);
    } else if (parameter.dtype == Dtype::float32) {
      handle.pushArg(static_cast<float>(value.real));
    } else {
      handle.pushArg(value.real);
    }
  }

  // Arguments are read first, for that may run Python code; they live in OCCA's kernel object only under the lock.
  void launch(PyObject *arguments) {
    const size_t count = parameters.size();
    if (static_cast<size_t>(PyTuple_GET_SIZE(arguments)) != count) {
      std::string names;
      for (const auto &parameter : parameters) names += (names.empty() ? "" : ", ") + parameter.name;
      throw Error{"ArgumentError", "kernel '" + name + "': expected " + std::to_string(count) + " arguments (" + names +
                                       "), got " + std::to_string(PyTuple_GET_SIZE(arguments)) + "; pass one for each"};
    }
    Value values[kMaxArguments];
    for (size_t position = 0; position < count; ++position) {
      const auto &parameter = parameters[position];
      const py::handle given = PyTuple_GET_ITEM(arguments, position);
      if (parameter.is_pointer) {
        values[position].memory = &memory(parameter, given);
      } else if (parameter.is_integer()) {
        values[position].integer = integer(parameter, given);
      } else {
        values[position].real = real(parameter, given);
      }
    }
    check_lengths(values);
    DeviceLock lock(*device);
    device->enter();
    translated("DeviceError", [&] {
      handle.clearArgs();
      for (size_t position = 0; position < count; ++position) push(parameters[position], values[position]);
      if (device->is_synchronous) {
        py::gil_scoped_release released;
        const ThreadLimit limit(threads);
        handle.run();
      } else {
        handle.run();
      }
    });
  }
};

// tp_call: pybind11's own dispatch would cost as much as OCCA's launch.
PyObject *call(PyObject *self, PyObject *arguments, PyObject *keywords) {
  try {
    auto &kernel = *native<Kernel>(self);
    if (keywords && PyDict_GET_SIZE(keywords)) {
      throw Error{"ArgumentError",
                  "kernel '" + kernel.name + "' takes its arguments by position, got keywords; drop the names"};
    }
    kernel.launch(arguments);
    Py_RETURN_NONE;
  } catch (const Error &error) {
    set_pending(error);
  } catch (py::error_already_set &error) {
    error.restore();
  } catch (const std::exception &error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

using Declaration = std::tuple<std::string, std::string, bool, bool, std::vector<std::pair<char, int64_t>>>;

std::unique_ptr<Kernel> build(const DevicePtr &device, const std::string &file, const std::string &name,
                              const std::string &properties) {
  auto kernel = std::make_unique<Kernel>();
  kernel->device = device;
  kernel->name = name;
  if (!compat::can_build_here()) {
    throw Error{"KernelBuildError",
                "kernel '" + name +
                    "' must be built in the thread that imported solver: the OCCA 1 of this site can in no other; "
                    "build it there, or use the bundled OCCA"};
  }
  DeviceLock lock(*device);
  device->enter();
  translated("KernelBuildError", [&] {
    py::gil_scoped_release released;
    kernel->handle = device->handle.buildKernel(file, name, compat::parse(properties));
  });
  return kernel;
}

void declare(Kernel &kernel, const std::vector<Declaration> &declarations) {
  if (declarations.size() > kMaxArguments) {
    throw Error{"KernelBuildError", "kernel '" + kernel.name + "' must have at most " + std::to_string(kMaxArguments) +
                                        " arguments, got " + std::to_string(declarations.size()) +
                                        "; gather some in an array"};
  }
  kernel.parameters.clear();
  for (const auto &[name, dtype, is_pointer, is_const, length] : declarations) {
    Parameter parameter{name, dtype_from(py::str(dtype)), is_pointer, is_const, {}};
    for (const auto &[operation, value] : length) parameter.length.push_back(Step{operation, value});
    if (parameter.length.size() > kMaxSteps)
      throw Error{"KernelBuildError", "the declared length of '" + name + "' is too long an expression; shorten it"};
    kernel.parameters.push_back(std::move(parameter));
  }
}

// Where OCCA put this kernel's translated source; the two releases keep it under different names.
std::string directory(Kernel &kernel) {
  std::string file = kernel.handle.binaryFilename();
  if (file.empty()) file = kernel.handle.sourceFilename();
  return file.substr(0, file.find_last_of('/') + 1);
}
}  // namespace

void bind_kernel(py::module_ &m) {
  if (OCCA_OPENMP_ENABLED) pthread_atfork(dismiss_team, nullptr, nullptr);
  memory_type = reinterpret_cast<PyTypeObject *>(py::type::of<Memory>().ptr());
  const auto callable = py::custom_type_setup([](PyHeapTypeObject *type) { type->ht_type.tp_call = call; });
  py::class_<Kernel>(m, "Kernel", callable,
                     "A compiled OKL kernel; calling it checks the arguments and launches on the device's stream.")
      .def_readonly("name", &Kernel::name)
      .def_readwrite("threads", &Kernel::threads, "OpenMP threads of a launch; 0: all.")
      .def_property_readonly("device", [](const Kernel &k) { return k.device; })
      .def_property_readonly("directory", &directory)
      .def_property_readonly(
          "parameters",
          [](const Kernel &k) {
            py::list out;
            for (const auto &p : k.parameters)
              out.append(py::make_tuple(p.name, info(p.dtype).name, p.is_pointer, p.is_const));
            return out;
          },
          "(name, dtype, is_pointer, is_const) of each argument.")
      .def("declare", &declare, py::arg("declarations"))
      .def("__repr__", [](const Kernel &k) { return "<kernel " + k.name + " on " + k.device->mode + ">"; });
  m.def("build", &build, py::arg("device"), py::arg("file"), py::arg("name"), py::arg("properties"));
}
