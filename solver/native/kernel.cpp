// A compiled OKL kernel with the signature its translated source states: every launch is checked here, before OCCA, which
// checks nothing on CUDA and OpenCL and misreads 64-bit integers.
#include <pybind11/stl.h>

#include <limits>

#include "memory.hpp"
#include "occa_compat.hpp"

namespace {
constexpr size_t kMaxArguments = OCCA_MAX_ARGS - 2;

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
};

struct Kernel {
  DevicePtr device;
  occa::kernel handle;
  std::string name;
  std::vector<Parameter> parameters;
  std::vector<int64_t> integers;  // values of this launch's integer arguments, by position

  [[noreturn]] void refuse(const Parameter &parameter, const std::string &problem) const {
    throw Error{"ArgumentError", "kernel '" + name + "', argument '" + parameter.name + "': " + problem};
  }

  std::string declaration(const Parameter &parameter) const {
    return std::string(info(parameter.dtype).name) + (parameter.is_pointer ? " memory" : "");
  }

  occa::kernelArg integer(const Parameter &parameter, const py::handle &given, size_t position) {
    py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(given.ptr()));
    if (!index) {
      PyErr_Clear();
      refuse(parameter, "expected an integer (" + declaration(parameter) + "), got " + type_of(given) + "; pass an int");
    }
    int overflow = 0;
    const int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    const bool narrow = parameter.dtype == Dtype::int32;
    if (overflow || (narrow && (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()))) {
      refuse(parameter, "expected a value that fits " + declaration(parameter) + ", got " + std::string(py::str(index)) + "; declare it long in the kernel");
    }
    integers[position] = value;
    return narrow ? occa::kernelArg(static_cast<int32_t>(value)) : occa::kernelArg(value);
  }

  occa::kernelArg real(const Parameter &parameter, const py::handle &given) const {
    const double value = PyFloat_AsDouble(given.ptr());
    if (value == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      refuse(parameter, "expected a number (" + declaration(parameter) + "), got " + type_of(given) + "; pass a float");
    }
    return parameter.dtype == Dtype::float32 ? occa::kernelArg(static_cast<float>(value)) : occa::kernelArg(value);
  }

  Memory &memory(const Parameter &parameter, const py::handle &given) const {
    if (!py::isinstance<Memory>(given)) {
      refuse(parameter, "expected " + declaration(parameter) + ", got " + type_of(given) + "; allocate it or use device.wrap(array)");
    }
    auto &memory = py::cast<Memory &>(given);
    memory.require_alive();
    if (memory.allocation->device != device) refuse(parameter, "expected memory of this kernel's device, got " + memory.describe() + " of another; allocate it on the same device");
    if (memory.dtype != parameter.dtype) refuse(parameter, "expected " + declaration(parameter) + ", got " + memory.describe() + "; match the dtype");
    if (!memory.is_contiguous()) refuse(parameter, "expected contiguous memory, got strided " + memory.describe() + "; pass the memory it was sliced from");
    if (memory.readonly && !parameter.is_const) refuse(parameter, "expected writable memory, got read-only " + memory.describe() + "; wrap a writable array");
    return memory;
  }

  int64_t evaluate(const std::vector<Step> &program) const {
    int64_t stack[32];
    int top = -1;
    for (const Step &step : program) {
      if (step.operation == 'c') {
        stack[++top] = step.value;
      } else if (step.operation == 'a') {
        stack[++top] = integers[static_cast<size_t>(step.value)];
      } else {
        const int64_t right = stack[top--];
        int64_t &left = stack[top];
        if (step.operation == '+') left += right;
        if (step.operation == '-') left -= right;
        if (step.operation == '*') left *= right;
        if (step.operation == '/') left = right ? left / right : 0;
      }
    }
    return stack[0];
  }

  static std::string type_of(const py::handle &given) { return py::str(py::type::of(given).attr("__name__")); }

  void launch(const py::args &arguments) {
    if (arguments.size() != parameters.size()) {
      std::string names;
      for (const auto &parameter : parameters) names += (names.empty() ? "" : ", ") + parameter.name;
      throw Error{"ArgumentError", "kernel '" + name + "': expected " + std::to_string(parameters.size()) + " arguments (" + names +
                                       "), got " + std::to_string(arguments.size()) + "; pass one for each"};
    }
    DeviceLock lock(*device);
    handle.clearArgs();
    size_t position = 0;
    for (const auto &parameter : parameters) {
      const py::handle given = PyTuple_GET_ITEM(arguments.ptr(), position);
      if (parameter.is_pointer) {
        handle.pushArg(memory(parameter, given).range());
      } else if (parameter.dtype == Dtype::int32 || parameter.dtype == Dtype::int64) {
        handle.pushArg(integer(parameter, given, position));
      } else {
        handle.pushArg(real(parameter, given));
      }
      ++position;
    }
    check_lengths(arguments);
    device->enter();
    translated("DeviceError", [&] {
      if (device->is_host()) {
        py::gil_scoped_release released;
        handle.run();
      } else {
        handle.run();
      }
    });
  }

  void check_lengths(const py::args &arguments) const {
    for (size_t position = 0; position < parameters.size(); ++position) {
      const auto &parameter = parameters[position];
      if (parameter.length.empty()) continue;
      const auto &given = py::cast<Memory &>(PyTuple_GET_ITEM(arguments.ptr(), position));
      const int64_t needed = evaluate(parameter.length);
      if (given.size() < needed) {
        refuse(parameter, "expected at least " + std::to_string(needed) + " elements, got " + given.describe() + "; allocate more or pass a smaller size");
      }
    }
  }
};

using Declaration = std::tuple<std::string, std::string, bool, bool, std::vector<std::pair<char, int64_t>>>;

std::unique_ptr<Kernel> build(const DevicePtr &device, const std::string &file, const std::string &name, const std::string &properties) {
  auto kernel = std::make_unique<Kernel>();
  kernel->device = device;
  kernel->name = name;
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
    throw Error{"KernelBuildError", "kernel '" + kernel.name + "' must have at most " + std::to_string(kMaxArguments) + " arguments, got " +
                                        std::to_string(declarations.size()) + "; gather some in an array"};
  }
  kernel.parameters.clear();
  for (const auto &[name, dtype, is_pointer, is_const, length] : declarations) {
    Parameter parameter{name, dtype_from(py::str(dtype)), is_pointer, is_const, {}};
    for (const auto &[operation, value] : length) parameter.length.push_back(Step{operation, value});
    if (parameter.length.size() > 32) throw Error{"KernelBuildError", "the declared length of '" + name + "' is too long an expression; shorten it"};
    kernel.parameters.push_back(std::move(parameter));
  }
  kernel.integers.assign(declarations.size(), 0);
}

// Where OCCA put this kernel's translated source; the two releases keep it under different names.
std::string directory(Kernel &kernel) {
  std::string file = kernel.handle.binaryFilename();
  if (file.empty()) file = kernel.handle.sourceFilename();
  return file.substr(0, file.find_last_of('/') + 1);
}
}  // namespace

void bind_kernel(py::module_ &m) {
  py::class_<Kernel>(m, "Kernel", "A compiled OKL kernel; calling it checks the arguments and launches on the device's stream.")
      .def("__call__", &Kernel::launch)
      .def_readonly("name", &Kernel::name)
      .def_property_readonly("device", [](const Kernel &k) { return k.device; })
      .def_property_readonly("directory", &directory)
      .def_property_readonly("parameters", [](const Kernel &k) {
        py::list out;
        for (const auto &p : k.parameters) out.append(py::make_tuple(p.name, info(p.dtype).name, p.is_pointer, p.is_const));
        return out;
      }, "(name, dtype, is_pointer, is_const) of each argument.")
      .def("declare", &declare, py::arg("declarations"))
      .def("__repr__", [](const Kernel &k) { return "<kernel " + k.name + " on " + k.device->mode + ">"; });
  m.def("build", &build, py::arg("device"), py::arg("file"), py::arg("name"), py::arg("properties"));
}
