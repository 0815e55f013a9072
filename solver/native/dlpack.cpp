// The DLPack exchange, https://dmlc.github.io/dlpack: legacy and versioned capsules, out and in.
#include "memory.hpp"

namespace {
struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void *context;
  void (*deleter)(DLManagedTensor *);
};
struct DLVersion {
  uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  DLVersion version;
  void *context;
  void (*deleter)(DLManagedTensorVersioned *);
  uint64_t flags;
  DLTensor tensor;
};
constexpr uint64_t kReadOnly = 1, kCopied = 2;
constexpr int64_t kLegacyStream = 1, kPerThreadStream = 2;
constexpr const char *kLegacy = "dltensor", *kVersioned = "dltensor_versioned";

[[noreturn]] void refuse(const std::string &text) {
  PyErr_SetString(PyExc_BufferError, text.c_str());
  throw py::error_already_set();
}

// One export: the tensor description and the lease that keeps the memory alive until the consumer is done.
template <class Managed>
struct Export {
  Managed managed{};
  std::vector<int64_t> shape, strides;
  std::unique_ptr<Lease> lease;

  static void destroy(Managed *managed) {
    if (!interpreter_is_alive()) return;
    py::gil_scoped_acquire gil;
    py::error_scope pending;
    delete static_cast<Export *>(managed->context);
  }
};

template <class Managed>
void destroy_unused(PyObject *capsule) {
  const char *name = std::is_same_v<Managed, DLManagedTensor> ? kLegacy : kVersioned;
  if (!PyCapsule_IsValid(capsule, name)) return;
  auto *managed = static_cast<Managed *>(PyCapsule_GetPointer(capsule, name));
  if (managed->deleter) managed->deleter(managed);
}

template <class Managed>
Managed *describe(const Memory &memory) {
  auto *exported = new Export<Managed>;
  exported->shape = memory.shape;
  exported->strides = memory.strides;
  exported->lease.reset(new Lease(memory.allocation, "DLPack view of shape " + text(memory.shape)));
  Managed &managed = exported->managed;
  managed.context = exported;
  managed.deleter = &Export<Managed>::destroy;
  DeviceState &device = memory.device();
  managed.tensor = DLTensor{memory.size() ? memory.pointer() : nullptr,
                            {device.dlpack_type(), device.is_host() ? 0 : device.ordinal},
                            static_cast<int32_t>(memory.shape.size()),
                            {info(memory.dtype).dlpack_code, static_cast<uint8_t>(8 * info(memory.dtype).bytes), 1},
                            exported->shape.data(),
                            exported->strides.data(),
                            0};
  return &managed;
}

int64_t integer(const py::handle &given, const char *what) {
  const auto value = static_cast<int64_t>(PyNumber_AsSsize_t(given.ptr(), PyExc_OverflowError));
  if (value != -1 || !PyErr_Occurred()) return value;
  PyErr_Clear();
  throw py::type_error(std::string(what) + " of __dlpack__ must be made of integers, got " +
                       std::string(py::repr(given)));
}

std::pair<int64_t, int64_t> pair_of(const py::object &given, const char *what) {
  if (!py::isinstance<py::tuple>(given) || py::len(given) != 2) {
    throw py::type_error(std::string(what) + " of __dlpack__ must be a tuple of two integers, got " +
                         std::string(py::repr(given)));
  }
  const auto both = given.cast<py::tuple>();
  return {integer(both[0], what), integer(both[1], what)};
}

// The consumer's stream waits for what is queued on ours; nobody on the host waits.
void order_consumer(DeviceState &device, const py::object &stream) {
  if (device.is_host()) {
    if (!stream.is_none()) refuse("stream must be None for host memory, got " + std::string(py::str(stream)));
    return;
  }
  const auto number = stream.is_none() ? kLegacyStream : integer(stream, "stream");
  if (number == -1) return;
  const bool ambiguous = number < -1 || (device.mode == "CUDA" ? number == 0 : number == 1 || number == 2);
  if (ambiguous)
    refuse("stream " + std::to_string(number) + " is not allowed for mode " + device.mode +
           "; pass the handle of a stream" + (device.mode == "CUDA" ? ", 1 or 2" : " or 0"));
  device.enter();
  device.runtime->order(device.stream, static_cast<uintptr_t>(device.mode == "HIP" && stream.is_none() ? 0 : number));
}

bool wants_versioned(const py::object &max_version) {
  return !max_version.is_none() && pair_of(max_version, "max_version").first >= 1;
}

void require_own_device(const Memory &memory, const py::object &wanted) {
  if (wanted.is_none()) return;
  const int id = memory.device().is_host() ? 0 : memory.device().ordinal;
  if (pair_of(wanted, "dl_device") != std::pair<int64_t, int64_t>(memory.device().dlpack_type(), id)) {
    refuse("memory of mode " + memory.device().mode + " is exported on its own device only, " +
           std::string(py::str(wanted)) + " was asked for; use to_host()");
  }
}

// What wrapped memory keeps: the producer's tensor, given back when the last user is gone.
struct Import {
  void *managed;
  bool versioned;
  ~Import() {
    if (versioned) {
      auto *tensor = static_cast<DLManagedTensorVersioned *>(managed);
      if (tensor->deleter) tensor->deleter(tensor);
    } else {
      auto *tensor = static_cast<DLManagedTensor *>(managed);
      if (tensor->deleter) tensor->deleter(tensor);
    }
  }
};

py::object request_capsule(const DevicePtr &device, const py::object &producer) {
  py::dict arguments;
  if (device->runtime)
    arguments["stream"] = device->stream ? device->stream : (device->mode == "CUDA" ? kLegacyStream : 0);
  py::dict versioned = arguments.attr("copy")();
  versioned["max_version"] = py::make_tuple(1, 0);
  try {
    return producer.attr("__dlpack__")(**versioned);
  } catch (py::error_already_set &error) {
    if (!error.matches(PyExc_TypeError)) throw;
  }
  return producer.attr("__dlpack__")(**arguments);
}

Dtype dtype_of(const DLDataType &dtype) {
  for (const Dtype candidate : {Dtype::int32, Dtype::int64, Dtype::float32, Dtype::float64}) {
    if (info(candidate).dlpack_code == dtype.code && 8 * info(candidate).bytes == dtype.bits && dtype.lanes == 1)
      return candidate;
  }
  throw Error{"ShapeError", "dtype must be one of int32, int64, float32, float64, got DLPack type code " +
                                std::to_string(dtype.code) + " with " + std::to_string(dtype.bits) +
                                " bits; convert the array"};
}
}  // namespace

py::object export_dlpack(const py::object &self, py::object stream, py::object max_version, py::object dl_device,
                         py::object copy) {
  const auto &memory = self.cast<Memory &>();
  memory.require_alive();
  if (!memory.device().has_addresses()) refuse("memory of mode OpenCL has no address to share; use to_host()");
  require_own_device(memory, dl_device);
  const bool copied = !copy.is_none() && copy.cast<bool>(), versioned = wants_versioned(max_version);
  std::unique_ptr<Memory> duplicate;
  if (copied) {
    if (!memory.device().is_host() && !memory.is_contiguous())
      refuse("strided memory of mode " + memory.device().mode +
             " cannot be copied by the export; ask for a view (copy=None) and copy that");
    duplicate = allocate(memory.allocation->device, memory.shape, memory.dtype);
    copy_device_to_device(*duplicate, memory);
  }
  if (memory.readonly && !copied && !versioned)
    refuse("read-only memory needs a consumer of versioned DLPack (max_version >= (1, 0)); wrap a writable array");
  order_consumer(memory.device(), stream);
  const Memory &exported = copied ? *duplicate : memory;
  if (!versioned) {
    auto *managed = describe<DLManagedTensor>(exported);
    return py::reinterpret_steal<py::object>(PyCapsule_New(managed, kLegacy, &destroy_unused<DLManagedTensor>));
  }
  auto *managed = describe<DLManagedTensorVersioned>(exported);
  managed->version = {1, 0};
  managed->flags = (exported.readonly ? kReadOnly : 0) | (copied ? kCopied : 0);
  return py::reinterpret_steal<py::object>(
      PyCapsule_New(managed, kVersioned, &destroy_unused<DLManagedTensorVersioned>));
}

std::unique_ptr<Memory> import_dlpack(const DevicePtr &device, const py::object &producer) {
  if (!device->has_addresses())
    throw Error{"DeviceError", "mode OpenCL has no addresses to wrap; allocate and copy instead"};
  if (!py::hasattr(producer, "__dlpack__") || !py::hasattr(producer, "__dlpack_device__")) {
    throw Error{"ShapeError", "an array with __dlpack__ (NumPy, torch, CuPy, JAX) is expected, got " +
                                  std::string(py::str(py::type::of(producer).attr("__name__"))) + "; convert it first"};
  }
  const auto where = producer.attr("__dlpack_device__")().cast<py::tuple>();
  const int type = py::int_(where[0]).cast<int>(), id = py::int_(where[1]).cast<int>();
  if (type != device->dlpack_type() || (!device->is_host() && id != device->ordinal)) {
    throw Error{"DeviceError", "the array must live on " + device->mode + ":" + std::to_string(device->ordinal) +
                                   ", its DLPack device is (" + std::to_string(type) + ", " + std::to_string(id) +
                                   "); move it there first"};
  }
  py::object capsule = request_capsule(device, producer);
  const bool versioned = PyCapsule_IsValid(capsule.ptr(), kVersioned);
  if (!versioned && !PyCapsule_IsValid(capsule.ptr(), kLegacy))
    refuse("__dlpack__ must return an unused DLPack capsule");
  void *managed = PyCapsule_GetPointer(capsule.ptr(), versioned ? kVersioned : kLegacy);
  const auto *modern = static_cast<DLManagedTensorVersioned *>(managed);
  if (versioned && modern->version.major > 1)
    refuse("DLPack version " + std::to_string(modern->version.major) +
           " is newer than 1; ask the producer for max_version (1, 0)");
  const DLTensor &tensor = versioned ? modern->tensor : static_cast<DLManagedTensor *>(managed)->tensor;

  auto memory = std::make_unique<Memory>();
  memory->dtype = dtype_of(tensor.dtype);
  memory->shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  memory->strides =
      tensor.strides ? std::vector<int64_t>(tensor.strides, tensor.strides + tensor.ndim) : row_major(memory->shape);
  memory->readonly = versioned && (modern->flags & kReadOnly);
  for (auto stride : memory->strides) {
    if (stride < 0)
      throw Error{"ShapeError", "an array with negative strides cannot be wrapped, got shape " + text(memory->shape) +
                                    "; make it contiguous first"};
  }
  PyCapsule_SetName(capsule.ptr(), versioned ? "used_dltensor_versioned" : "used_dltensor");
  auto *import = new Import{managed, versioned};
  py::capsule owner(import, [](void *kept) { delete static_cast<Import *>(kept); });

  auto &allocation = *(memory->allocation = std::make_shared<Allocation>());
  allocation.device = device;
  allocation.owner = py::make_tuple(owner, producer);
  allocation.pointer = static_cast<char *>(tensor.data) + tensor.byte_offset;
  allocation.bytes = memory->span();
  allocation.readonly = memory->readonly;
  return memory;
}
