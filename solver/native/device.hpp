// The device every other object belongs to: OCCA's handle, the lock around OCCA's unguarded reference counts, the GPU
// driver's stream and event calls, and the count of bytes that crossed between host and device.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <occa.hpp>
#include <string>

#include "runtime.hpp"

namespace py = pybind11;

// A Python exception of solver.errors, by its class name.
struct Error {
  const char *type;
  std::string text;
};

// Set as the pending Python exception.
void set_pending(const Error &error);

struct Transfers {
  std::atomic<uint64_t> host_to_device{0}, device_to_host{0}, device_to_device{0}, copies{0}, synchronizations{0};
};

struct DeviceState {
  occa::device handle;
  std::mutex mutex;
  std::string mode;
  bool is_synchronous = false;  // host modes: a launch returns when the kernel is done
  int ordinal = 0;
  std::unique_ptr<Runtime> runtime;  // CUDA and HIP only
  uintptr_t stream = 0;              // the native handle OCCA launches on; 0 in other modes
  occa::stream own_stream;           // made by OCCA with the device
  uintptr_t own_stream_handle = 0;
  Transfers transfers;

  bool is_host() const { return is_synchronous; }
  bool has_addresses() const { return mode != "OpenCL"; }
  int dlpack_type() const;
  void enter();  // make the device's context current on this thread
  void finish();
  void set_stream(uintptr_t native);
};

using DevicePtr = std::shared_ptr<DeviceState>;

// Holds the device's mutex; whoever must wait for it gives up the GIL, so that no thread waits for both. No Python code
// runs inside: it could drop an object whose destructor takes the same lock.
class DeviceLock {
 public:
  explicit DeviceLock(DeviceState &device) : mutex_(device.mutex) {
    if (!mutex_.try_lock()) {
      py::gil_scoped_release released;
      mutex_.lock();
    }
  }
  ~DeviceLock() { mutex_.unlock(); }
  DeviceLock(const DeviceLock &) = delete;

 private:
  std::mutex &mutex_;
};

// Without an interpreter there is no lock to take and no one to race with.
inline bool interpreter_is_alive() { return Py_IsInitialized() != 0; }

template <class Function>
auto translated(const char *type, Function &&function) {
  try {
    return function();
  } catch (const occa::exception &error) {
    throw Error{type, error.message};
  }
}

void bind_device(py::module_ &m);
void bind_memory(py::module_ &m);
void bind_kernel(py::module_ &m);
