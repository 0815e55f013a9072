#include "memory.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "occa_compat.hpp"
#include "pages.hpp"

namespace {
constexpr DtypeInfo kDtypes[] = {{Dtype::int32, "int32", "<i4", "i", 4, 0},
                                 {Dtype::int64, "int64", "<i8", "l", 8, 0},
                                 {Dtype::float32, "float32", "<f4", "f", 4, 2},
                                 {Dtype::float64, "float64", "<f8", "d", 8, 2}};

constexpr size_t kAlignment = 64, kLargeAlignment = 4096, kLarge = 1 << 20;

// Large memory lies on huge pages where the system grants them; nothing is touched here.
char *allocate_host(size_t bytes) {
  void *pointer = nullptr;
  const size_t alignment = bytes >= kHuge ? kHugePage : bytes >= kLarge ? kLargeAlignment : kAlignment;
  if (posix_memalign(&pointer, alignment, bytes)) return nullptr;
#ifdef MADV_HUGEPAGE
  if (bytes >= kHuge) madvise(pointer, bytes, MADV_HUGEPAGE);
#endif
  return static_cast<char *>(pointer);
}

// Whether a buffer's struct format and item size are those of a dtype.
bool matches(const char *format, Py_ssize_t bytes, const DtypeInfo &dtype) {
  if (!format || bytes != dtype.bytes) return false;
  if (*format == '<' || *format == '=' || *format == '@') ++format;
  const bool is_integer = *format == 'i' || *format == 'l' || *format == 'q';
  return format[1] == '\0' && (dtype.dlpack_code == 0 ? is_integer : *format == *dtype.format);
}

// The contiguous host buffer on the other side of a copy.
struct HostBuffer {
  Py_buffer view{};
  HostBuffer(const py::object &array, bool writable, const Memory &memory, const char *verb) {
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array.ptr(), &view, flags)) {
      PyErr_Clear();
      throw Error{"ShapeError", std::string("the host array to ") + verb + " must be a C-contiguous" +
                                    (writable ? ", writable" : "") + " buffer; use numpy.ascontiguousarray"};
    }
    const DtypeInfo &wanted = info(memory.dtype);
    if (static_cast<size_t>(view.len) != memory.bytes() || !matches(view.format, view.itemsize, wanted)) {
      const std::string got = std::to_string(view.itemsize ? view.len / view.itemsize : 0) +
                              " elements of buffer format '" + (view.format ? view.format : "B") + "'";
      PyBuffer_Release(&view);
      throw Error{"ShapeError", std::string("the host array to ") + verb + " must hold " +
                                    std::to_string(memory.size()) + " elements of " + wanted.name + ", got " + got +
                                    "; match shape and dtype"};
    }
  }
  ~HostBuffer() { PyBuffer_Release(&view); }
  HostBuffer(const HostBuffer &) = delete;
};

void require_contiguous(const Memory &memory, const char *verb) {
  if (!memory.is_contiguous()) {
    throw Error{"ShapeError", std::string("memory to ") + verb + " must be contiguous, got " + memory.describe() +
                                  "; use to_host() or a contiguous slice"};
  }
}

// The elements of strided host memory, in row-major order; through a copy of them, since both may be one allocation.
void gather(char *target, const Memory &source) {
  const size_t width = info(source.dtype).bytes, axes = source.shape.size();
  std::vector<char> packed(source.bytes());
  std::vector<int64_t> index(axes, 0);
  for (size_t done = 0; done < packed.size(); done += width) {
    int64_t element = 0;
    for (size_t axis = 0; axis < axes; ++axis) element += index[axis] * source.strides[axis];
    std::memcpy(packed.data() + done, source.pointer() + element * static_cast<int64_t>(width), width);
    for (size_t axis = axes; axis-- > 0 && ++index[axis] == source.shape[axis];) index[axis] = 0;
  }
  std::memcpy(target, packed.data(), packed.size());
}

// Asynchronous on the stream OCCA launches on, then waited for: OCCA's blocking copies use the NULL stream, which a
// non-blocking stream does not wait for.
void transfer(Memory &memory, void *host, bool to_device, size_t offset, size_t bytes) {
  DeviceState &device = memory.device();
  memory.require_alive();
  if (!bytes) return;
  if (device.is_host()) {
    DeviceLock lock(device);
    memory.require_alive();
    char *inside = memory.allocation->pointer + offset;
    py::gil_scoped_release released;
    to_device ? std::memmove(inside, host, bytes) : std::memmove(host, inside, bytes);
    ++device.transfers.copies;
    return;
  }
  {
    DeviceLock lock(device);
    memory.require_alive();
    device.enter();
    occa::memory &whole = memory.allocation->range();
    py::gil_scoped_release released;
    translated("DeviceError", [&] {
      const auto async = compat::parse(device.runtime ? "{\"async\": true}" : "{}");
      to_device ? whole.copyFrom(host, bytes, offset, async) : whole.copyTo(host, bytes, offset, async);
    });
  }
  device.finish();
  ++device.transfers.copies;
  (to_device ? device.transfers.host_to_device : device.transfers.device_to_host) += bytes;
}

void copy_from(Memory &self, const py::object &source) {
  if (self.readonly) throw Error{"ShapeError", "read-only memory cannot be written; wrap a writable array"};
  require_contiguous(self, "write");
  if (py::isinstance<Memory>(source)) {
    copy_device_to_device(self, source.cast<Memory &>());
    return;
  }
  HostBuffer host(source, false, self, "copy from");
  transfer(self, host.view.buf, true, self.offset, self.bytes());
}

void copy_to(Memory &self, const py::object &target) {
  require_contiguous(self, "read");
  HostBuffer host(target, true, self, "copy to");
  transfer(self, host.view.buf, false, self.offset, self.bytes());
}

py::array to_host(Memory &self) {
  self.require_alive();
  const py::dtype dtype(info(self.dtype).name);
  const auto width = static_cast<int64_t>(info(self.dtype).bytes);
  if (self.is_contiguous()) {
    py::array out(dtype, self.shape);
    transfer(self, out.mutable_data(), false, self.offset, self.bytes());
    return out;
  }
  py::array whole(dtype, std::vector<int64_t>{static_cast<int64_t>(self.span()) / width});
  transfer(self, whole.mutable_data(), false, self.offset, self.span());
  std::vector<int64_t> strides(self.strides);
  for (auto &stride : strides) stride *= width;
  return py::array(dtype, self.shape, strides, whole.data(), whole).attr("copy")().cast<py::array>();
}

std::unique_ptr<Memory> getitem(const Memory &self, const py::object &key) {
  self.require_alive();
  const py::tuple items = py::isinstance<py::tuple>(key) ? key.cast<py::tuple>() : py::make_tuple(key);
  const auto given = static_cast<size_t>(py::len(items));
  size_t ellipses = 0;
  for (const auto &item : items) ellipses += item.is(py::ellipsis());
  if (given - ellipses > self.shape.size() || ellipses > 1) {
    throw Error{"ShapeError", "an index of " + self.describe() + " must have at most " +
                                  std::to_string(self.shape.size()) + " entries and one ellipsis; drop the others"};
  }
  std::vector<int64_t> shape, strides;
  int64_t offset = 0;
  size_t axis = 0;
  const auto keep = [&](size_t count) {
    for (; count; --count, ++axis) {
      shape.push_back(self.shape[axis]);
      strides.push_back(self.strides[axis]);
    }
  };
  for (const auto &item : items) {
    if (item.is(py::ellipsis())) {
      keep(self.shape.size() + 1 - given);
    } else if (py::isinstance<py::slice>(item)) {
      py::ssize_t start, stop, step, length;
      if (!item.cast<py::slice>().compute(self.shape[axis], &start, &stop, &step, &length))
        throw py::error_already_set();
      if (step < 1)
        throw Error{"ShapeError", "a slice of device memory must step forward, got step " + std::to_string(step) +
                                      "; reverse on the host"};
      offset += start * self.strides[axis];
      shape.push_back(length);
      strides.push_back(step * self.strides[axis]);
      ++axis;
    } else {
      const auto extent = self.shape[axis];
      auto index = static_cast<int64_t>(PyNumber_AsSsize_t(item.ptr(), PyExc_IndexError));
      if (index == -1 && PyErr_Occurred()) throw py::error_already_set();
      if (index < -extent || index >= extent) {
        throw py::index_error("index " + std::to_string(index) + " is outside axis " + std::to_string(axis) + " of " +
                              self.describe());
      }
      offset += (index < 0 ? index + extent : index) * self.strides[axis];
      ++axis;
    }
  }
  keep(self.shape.size() - axis);
  return self.view_of(shape, strides, self.offset + static_cast<size_t>(offset) * info(self.dtype).bytes);
}

std::unique_ptr<Memory> reshape(const Memory &self, std::vector<int64_t> shape) {
  self.require_alive();
  require_contiguous(self, "reshape");
  int64_t size = 1;
  bool is_valid = true;
  for (auto extent : shape) is_valid = is_valid && extent >= 0 && !__builtin_mul_overflow(size, extent, &size);
  if (!is_valid || size != self.size()) {
    throw Error{"ShapeError", "the new shape must hold " + std::to_string(self.size()) + " elements, got " +
                                  text(shape) + "; choose another shape"};
  }
  auto strides = row_major(shape);
  return self.view_of(std::move(shape), std::move(strides), self.offset);
}

void free_memory(Memory &self) {
  Allocation &allocation = *self.allocation;
  if (allocation.freed) return;
  if (self.view) throw Error{"MemoryInUseError", "a slice cannot be freed; free the memory it was taken from"};
  if (!allocation.leases.empty()) {
    std::string names;
    for (const Lease *lease : allocation.leases) names += (names.empty() ? "" : ", ") + lease->description;
    throw Error{"MemoryInUseError",
                self.describe() + " cannot be freed while in use by: " + names + "; delete those first"};
  }
  self.forget_range();
  allocation.freed = true;
  allocation.release();
}

bool is_exchangeable(const Memory &self) {
  const Allocation &allocation = *self.allocation;
  const bool is_whole = allocation.owned && self.bytes() == allocation.bytes && !self.readonly;
  return pages_move() && is_whole && allocation.bytes >= kHuge;
}

bool exchange(Memory &self, Memory &other) {
  if (self.allocation == other.allocation || !is_exchangeable(self) || !is_exchangeable(other)) return false;
  if (self.bytes() != other.bytes()) return false;
  DeviceLock lock(self.device());
  self.require_alive();
  other.require_alive();
  py::gil_scoped_release released;
  return exchange_pages(self.pointer(), other.pointer(), self.bytes());
}

py::tuple byte_strides(const Memory &self) {
  py::tuple strides(self.shape.size());
  for (size_t i = 0; i < self.shape.size(); ++i) strides[i] = self.strides[i] * info(self.dtype).bytes;
  return strides;
}

// What an array made from __array_interface__ keeps: the memory, by a lease that ends with the array.
struct HostView {
  std::unique_ptr<Lease> lease;
  char *pointer;
  size_t bytes;
  bool readonly;
};

int get_buffer(PyObject *object, Py_buffer *view, int flags) {
  const auto &self = py::handle(object).cast<HostView &>();
  return PyBuffer_FillInfo(view, object, self.pointer, static_cast<Py_ssize_t>(self.bytes), self.readonly, flags);
}

py::dict array_interface(const Memory &self) {
  if (!self.device().is_host()) throw py::attribute_error("__array_interface__ exists for host modes only");
  self.require_alive();
  auto view = std::make_unique<HostView>();
  view->lease.reset(new Lease(self.allocation, "array of shape " + text(self.shape)));
  view->pointer = self.pointer();
  view->bytes = self.span();
  view->readonly = self.readonly;
  return py::dict(py::arg("version") = 3, py::arg("shape") = py::tuple(py::cast(self.shape)),
                  py::arg("typestr") = info(self.dtype).typestr, py::arg("strides") = byte_strides(self),
                  py::arg("data") = std::move(view));
}

// NumPy comes here where there is no __array_interface__.
void refuse_array(const Memory &self, const py::args &, const py::kwargs &) {
  self.require_alive();
  throw py::type_error(self.describe() + " is not host memory; use to_host()");
}

py::dict cuda_array_interface(Memory &self) {
  if (!self.device().runtime) throw py::attribute_error("__cuda_array_interface__ exists for CUDA and HIP only");
  self.require_alive();
  if (!self.interface)
    self.interface.reset(new Lease(self.allocation, "CUDA array interface of shape " + text(self.shape)));
  const uintptr_t stream = self.device().stream ? self.device().stream : 1;
  return py::dict(
      py::arg("version") = 3, py::arg("shape") = py::tuple(py::cast(self.shape)),
      py::arg("typestr") = info(self.dtype).typestr, py::arg("strides") = byte_strides(self),
      py::arg("data") = py::make_tuple(self.size() ? reinterpret_cast<uintptr_t>(self.pointer()) : 0, self.readonly),
      py::arg("stream") = stream);
}
}  // namespace

const DtypeInfo &info(Dtype dtype) { return kDtypes[static_cast<int>(dtype)]; }

Dtype dtype_from(const py::handle &name) {
  std::string text;
  try {
    text = py::str(py::dtype::from_args(py::reinterpret_borrow<py::object>(name)).attr("name"));
  } catch (py::error_already_set &) {
    text = py::str(name);
  }
  for (const auto &candidate : kDtypes) {
    if (text == candidate.name) return candidate.dtype;
  }
  throw Error{"ShapeError", "dtype must be one of int32, int64, float32, float64, got " + text + "; convert the array"};
}

void Allocation::release() noexcept {
  if (!interpreter_is_alive()) {
    owner.release();
    return;
  }
  bool leaked = false;
  {
    DeviceLock lock(*device);
    try {
      if (handle.isInitialized() || owner) device->enter();
      // The producer may hand the bytes to someone on another stream at once: kernels that use them must be done.
      if (device->runtime && owner) {
        ++device->transfers.synchronizations;
        device->runtime->synchronize(device->stream);
      }
      handle = occa::memory();
    } catch (...) {
      leaked = true;
    }
    if (owned) std::free(pointer);
    pointer = nullptr;
    owned = false;
  }
  py::error_scope pending;
  if (leaked && PyErr_WarnEx(PyExc_RuntimeWarning, "device memory could not be freed and is leaked", 1)) {
    PyErr_WriteUnraisable(nullptr);
  }
  owner = py::object();
}

occa::memory &Allocation::range() {
  if (!handle.isInitialized()) {
    translated("DeviceError", [&] { handle = compat::wrap(device->handle, pointer, bytes ? bytes : 1, device->mode); });
  }
  return handle;
}

size_t Memory::span() const {
  int64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    last += (shape[i] - 1) * strides[i];
  }
  return static_cast<size_t>(last + 1) * info(dtype).bytes;
}

void Memory::forget_range() noexcept {
  if (!handle.isInitialized() || !interpreter_is_alive()) return;
  DeviceLock lock(device());
  try {
    device().enter();
    handle = occa::memory();
  } catch (...) {
  }
}

int64_t Memory::size() const {
  int64_t size = 1;
  for (auto extent : shape) size *= extent;
  return size;
}

bool Memory::is_contiguous() const {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

void Memory::require_alive() const {
  if (allocation->freed) throw Error{"MemoryInUseError", describe() + " has been freed; allocate it again"};
}

occa::memory &Memory::range() {
  if (handle.isInitialized()) return handle;
  DeviceState &own = device();
  own.enter();
  translated("DeviceError", [&] {
    const size_t length = bytes() ? bytes() : 1;
    if (own.has_addresses()) {
      handle = compat::wrap(own.handle, pointer(), length, own.mode);
    } else if (offset == 0 && bytes() == allocation->bytes) {
      handle = allocation->handle;
    } else {
      try {
        handle = compat::slice(allocation->handle, offset, length);
      } catch (const occa::exception &error) {
        // OCCA 1 keeps the slice it could not make and would end the process when its device goes: the device stays.
        new occa::device(own.handle);
        throw Error{"DeviceError", describe() + " starts at byte " + std::to_string(offset) + ", which mode " +
                                       own.mode + " cannot pass to a kernel (" + error.message +
                                       "); start at a multiple of 128 elements or pass the whole memory"};
      }
    }
  });
  return handle;
}

std::string Memory::describe() const {
  return std::string(info(dtype).name) + " memory of shape " + text(shape) + " on " + allocation->device->mode;
}

std::unique_ptr<Memory> Memory::view_of(std::vector<int64_t> new_shape, std::vector<int64_t> new_strides,
                                        size_t new_offset) const {
  auto slice = std::make_unique<Memory>();
  slice->allocation = allocation;
  slice->dtype = dtype;
  slice->shape = std::move(new_shape);
  slice->strides = std::move(new_strides);
  slice->offset = new_offset;
  slice->readonly = readonly;
  slice->view.reset(new Lease(allocation, "slice of shape " + text(slice->shape)));
  return slice;
}

std::vector<int64_t> row_major(const std::vector<int64_t> &shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

std::string text(const std::vector<int64_t> &shape) {
  std::string out = "(";
  for (auto extent : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(extent);
  return out + (shape.size() == 1 ? ",)" : ")");
}

std::unique_ptr<Memory> allocate(const DevicePtr &device, std::vector<int64_t> shape, Dtype dtype) {
  double wanted = info(dtype).bytes;
  for (const auto extent : shape) {
    if (extent < 0)
      throw Error{"ShapeError", "a shape must not be negative, got " + text(shape) + "; give sizes of 0 or more"};
    wanted *= static_cast<double>(extent);
  }
  const auto present = static_cast<double>(device->handle.memorySize());
  if (wanted > present) {
    throw Error{"DeviceError", "allocation of shape " + text(shape) + " needs " + std::to_string(wanted / 1e9) +
                                   " GB, mode " + device->mode + " has " + std::to_string(present / 1e9) +
                                   " GB; choose a smaller shape"};
  }
  auto memory = std::make_unique<Memory>();
  memory->dtype = dtype;
  memory->shape = std::move(shape);
  memory->strides = row_major(memory->shape);
  auto &allocation = *(memory->allocation = std::make_shared<Allocation>());
  allocation.device = device;
  allocation.bytes = memory->bytes();
  const size_t bytes = allocation.bytes ? allocation.bytes : 1;
  if (device->is_host()) {
    allocation.pointer = allocate_host(bytes);
    allocation.owned = true;
    if (!allocation.pointer)
      throw Error{"DeviceError",
                  "the host could not allocate " + std::to_string(bytes) + " bytes; choose a smaller shape"};
  } else {
    DeviceLock lock(*device);
    device->enter();
    translated("DeviceError", [&] { allocation.handle = compat::allocate(device->handle, bytes); });
    if (device->has_addresses()) allocation.pointer = static_cast<char *>(allocation.handle.ptr());
  }
  return memory;
}

void copy_device_to_device(Memory &target, const Memory &source) {
  DeviceState &device = target.device();
  target.require_alive();
  source.require_alive();
  if (source.allocation->device != target.allocation->device)
    throw Error{"DeviceError", "both memories must belong to one device; copy through the host"};
  if (source.bytes() != target.bytes() || source.dtype != target.dtype) {
    throw Error{"ShapeError", "the source must match " + target.describe() + ", got " + source.describe() +
                                  "; match shape and dtype"};
  }
  if (!target.bytes()) return;
  if (device.is_host() && !source.is_contiguous()) {
    gather(target.pointer(), source);
  } else if (device.is_host()) {
    std::memmove(target.pointer(), source.pointer(), target.bytes());
  } else {
    require_contiguous(source, "read");
    DeviceLock lock(device);
    device.enter();
    translated("DeviceError", [&] {
      target.allocation->range().copyFrom(source.allocation->range(), target.bytes(), target.offset, source.offset,
                                          compat::parse(device.runtime ? "{\"async\": true}" : "{}"));
    });
  }
  ++device.transfers.copies;
  device.transfers.device_to_device += target.bytes();
}

void bind_memory(py::module_ &m) {
  const auto buffer = py::custom_type_setup([](PyHeapTypeObject *type) {
    type->ht_type.tp_as_buffer = &type->as_buffer;
    type->as_buffer.bf_getbuffer = get_buffer;
  });
  py::class_<HostView>(m, "HostView", buffer, "What an array made from ``__array_interface__`` keeps.");
  py::class_<Memory>(m, "Memory", R"(Typed, shaped memory of a device, shown to other libraries without a copy.

NumPy, torch, CuPy and JAX see it through DLPack, ``__array_interface__`` and ``__cuda_array_interface__``; not through the
buffer protocol, which torch.asarray would prefer and read as float32. A view keeps the memory alive; ``free()`` refuses
while views live.)")
      .def_property_readonly("device", [](const Memory &s) { return s.allocation->device; })
      .def_property_readonly("dtype", [](const Memory &s) { return py::dtype(info(s.dtype).name); })
      .def_property_readonly("shape", [](const Memory &s) { return py::tuple(py::cast(s.shape)); })
      .def_property_readonly("strides", &byte_strides, "Bytes between neighbours on each axis.")
      .def_property_readonly("size", &Memory::size)
      .def_property_readonly("nbytes", &Memory::bytes)
      .def_property_readonly("ndim", [](const Memory &s) { return s.shape.size(); })
      .def_property_readonly(
          "pointer",
          [](const Memory &s) {
            s.require_alive();
            return reinterpret_cast<uintptr_t>(s.pointer());
          },
          "Address on the device; 0 in mode OpenCL.")
      .def_property_readonly("is_contiguous", &Memory::is_contiguous)
      .def_readonly("readonly", &Memory::readonly)
      .def_property_readonly(
          "views",
          [](const Memory &s) {
            py::list names;
            for (const Lease *lease : s.allocation->leases) names.append(lease->description);
            return names;
          },
          "What is in use of this memory, by name.")
      .def("__getitem__", &getitem)
      .def("__len__",
           [](const Memory &s) {
             if (s.shape.empty()) throw py::type_error("memory of shape () has no length");
             return s.shape[0];
           })
      .def("__repr__", [](const Memory &s) { return "<" + s.describe() + (s.allocation->freed ? ", freed>" : ">"); })
      .def("reshape", &reshape, py::arg("shape"),
           "A view of another shape over the same elements; contiguous memory only.")
      .def("copy_from", &copy_from, py::arg("source"),
           "Copy in from a C-contiguous host array (counted) or from memory of the same device.")
      .def("copy_to", &copy_to, py::arg("target"), "Copy out to a C-contiguous, writable host array; counted.")
      .def_property_readonly(
          "is_exchangeable", &is_exchangeable,
          "Whether it may exchange its pages: whole memory of 8 MiB and more, allocated on a Linux host.")
      .def("exchange", &exchange, py::arg("other"),
           R"(Exchange what both hold by the pages it lies on, without a copy, and return whether that was possible.

Addresses stay, and views show what is there then. If not, nothing has changed: one of them is not exchangeable, or they
are not of one size.)")
      .def("to_host", &to_host, "A NumPy copy of the elements; counted.")
      .def("free", &free_memory, "Give the bytes back now; refused while views live.")
      .def_property_readonly("__array_interface__", &array_interface)
      .def("__array__", &refuse_array, "Refuses: without it NumPy would gather device memory as Python objects.")
      .def_property_readonly("__cuda_array_interface__", &cuda_array_interface)
      .def("__dlpack_device__",
           [](const Memory &s) {
             return py::make_tuple(s.device().dlpack_type(), s.device().is_host() ? 0 : s.device().ordinal);
           })
      .def("__dlpack__", &export_dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(), py::arg("copy") = py::none());
  m.def(
      "allocate",
      [](const DevicePtr &device, std::vector<int64_t> shape, const py::object &dtype) {
        return allocate(device, std::move(shape), dtype_from(dtype));
      },
      py::arg("device"), py::arg("shape"), py::arg("dtype"));
  m.def("wrap", &import_dlpack, py::arg("device"), py::arg("producer"));
}
