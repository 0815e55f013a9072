#include "device.hpp"

#include <pybind11/numpy.h>

#include <chrono>
#include <cstdlib>

#include "occa_compat.hpp"

namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// A point in the device's current stream. Events on CUDA and HIP; elsewhere the host's clock, after finish() where
// kernels run asynchronously, since OCCA 1 records its own tags on the wrong stream (CUDA) or without order (OpenCL).
struct Tag {
  DevicePtr device;
  void *event = nullptr;
  double time = 0;

  explicit Tag(DevicePtr owner) : device(std::move(owner)) {
    if (device->runtime) {
      device->enter();
      event = device->runtime->record(device->stream);
    } else {
      if (!device->is_host()) device->finish();
      time = now();
    }
  }
  ~Tag() {
    if (event && interpreter_is_alive()) device->runtime->destroy(event);
  }
  Tag(const Tag &) = delete;

  void wait() {
    if (!event) return;
    device->enter();
    ++device->transfers.synchronizations;
    py::gil_scoped_release released;
    device->runtime->wait(event);
  }

  double elapsed(Tag &later) {
    if (device != later.device)
      throw Error{"DeviceError", "both tags must come from one device; take them from the same"};
    if (!event) return later.time - time;
    device->enter();
    py::gil_scoped_release released;
    return device->runtime->seconds_between(event, later.event);
  }
};

DevicePtr open(const std::string &mode, int ordinal, const std::string &properties) {
  auto device = std::make_shared<DeviceState>();
  device->mode = mode;
  device->is_synchronous = mode == "Serial" || mode == "OpenMP";
  device->ordinal = ordinal;
  if (!compat::can_build_here()) {
    throw Error{"DeviceError",
                "a device must be opened in the thread that imported solver: the OCCA 1 of this site can in no other; "
                "open it there, or use the bundled OCCA"};
  }
  translated("DeviceError", [&] {
    py::gil_scoped_release released;
    device->handle = compat::make_device(properties);
  });
  if (device->handle.mode() != mode) {
    throw Error{"DeviceError", "mode " + mode + " was asked for, OCCA gave " + device->handle.mode() +
                                   " in its place; `insitu info` lists the modes present"};
  }
  if (mode == "CUDA" || mode == "HIP") {
    device->runtime = Runtime::open(mode, ordinal);
    if (!device->runtime)
      throw Error{"DeviceError", "the " + mode + " driver library cannot be loaded; install the driver"};
    device->own_stream = device->handle.getStream();
    device->own_stream_handle = device->stream = compat::native_stream(device->own_stream, mode);
  }
  return device;
}

// Pages of the host's memory for copies to and from the device, pinned where its driver can.
struct HostBuffer {
  DevicePtr device;
  void *pointer = nullptr;
  bool is_pinned = false;

  HostBuffer(DevicePtr owner, size_t bytes) : device(std::move(owner)) {
    constexpr size_t kPage = 4096;
    const size_t whole = (bytes / kPage + 1) * kPage;
    if (posix_memalign(&pointer, kPage, whole))
      throw Error{"DeviceError",
                  "the host could not allocate " + std::to_string(bytes) + " bytes; choose a smaller shape"};
    if (!device->runtime) return;
    try {
      device->enter();
      device->runtime->pin(pointer, whole);
    } catch (...) {
      std::free(pointer);
      throw;
    }
    is_pinned = true;
  }
  ~HostBuffer() {
    if (is_pinned && interpreter_is_alive()) device->runtime->unpin(pointer);
    std::free(pointer);
  }
  HostBuffer(const HostBuffer &) = delete;
};

py::array host_buffer(DevicePtr device, size_t bytes) {
  auto buffer = std::make_unique<HostBuffer>(std::move(device), bytes);
  void *pointer = buffer->pointer;
  py::capsule owner(buffer.release(), [](void *p) { delete static_cast<HostBuffer *>(p); });
  return py::array_t<uint8_t>({bytes}, {size_t{1}}, static_cast<uint8_t *>(pointer), owner);
}

py::dict transfers(const DeviceState &device) {
  const Transfers &t = device.transfers;
  return py::dict(py::arg("host_to_device") = t.host_to_device.load(),
                  py::arg("device_to_host") = t.device_to_host.load(),
                  py::arg("device_to_device") = t.device_to_device.load(), py::arg("copies") = t.copies.load(),
                  py::arg("synchronizations") = t.synchronizations.load());
}
}  // namespace

int DeviceState::dlpack_type() const {
  if (is_host()) return 1;
  return mode == "CUDA" ? 2 : mode == "HIP" ? 10 : 4;
}

void DeviceState::enter() {
  if (runtime) runtime->enter();
}

void DeviceState::finish() {
  if (is_host()) return;
  ++transfers.synchronizations;
  if (runtime) {
    enter();
    py::gil_scoped_release released;
    runtime->synchronize(stream);
  } else {
    DeviceLock lock(*this);
    py::gil_scoped_release released;
    translated("DeviceError", [&] { handle.finish(); });
  }
}

void DeviceState::set_stream(uintptr_t native) {
  if (!runtime)
    throw Error{"DeviceError", "mode " + mode + " has no native streams; external streams need CUDA or HIP"};
  DeviceLock lock(*this);
  enter();
  runtime->order(stream, native);
  translated("DeviceError", [&] {
    handle.setStream(native == own_stream_handle ? own_stream : compat::wrap_stream(handle, native, mode));
  });
  stream = native;
}

void bind_device(py::module_ &m) {
  py::class_<Tag, std::shared_ptr<Tag>>(m, "Tag", "A point in a device's stream.")
      .def("wait", &Tag::wait, "Wait until the device has reached this point.")
      .def("seconds_until", &Tag::elapsed, py::arg("later"),
           "Seconds on the device between this point and a later one.");

  py::class_<DeviceState, DevicePtr>(m, "Device", "One OCCA device; solver.Device is its public face.")
      .def(py::init(&open), py::arg("mode"), py::arg("ordinal"), py::arg("properties"))
      .def_readonly("mode", &DeviceState::mode)
      .def_readonly("ordinal", &DeviceState::ordinal)
      .def_property_readonly("stream", [](const DeviceState &d) { return d.stream; })
      .def_property_readonly("memory_bytes", [](const DeviceState &d) { return d.handle.memorySize(); })
      .def_property_readonly(
          "dlpack_device",
          [](const DeviceState &d) { return py::make_tuple(d.dlpack_type(), d.is_host() ? 0 : d.ordinal); })
      .def_property_readonly("transfers", &transfers)
      .def("set_stream", &DeviceState::set_stream, py::arg("native"))
      .def("host_buffer", &host_buffer, py::arg("bytes"),
           "A NumPy array of bytes on the host for copies to and from this device, pinned in CUDA and HIP.")
      .def("tag", [](DevicePtr d) { return std::make_shared<Tag>(std::move(d)); })
      .def("finish", &DeviceState::finish);
}
