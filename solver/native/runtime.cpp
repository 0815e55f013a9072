#include "runtime.hpp"

#include <dlfcn.h>

#include "device.hpp"

namespace {
constexpr unsigned kTimed = 0, kUntimed = 2;  // the flags of cuEventCreate and hipEventCreateWithFlags

template <class Call>
bool find(void *library, const char *name, Call &call) {
  call = reinterpret_cast<Call>(dlsym(library, name));
  return call != nullptr;
}
}  // namespace

bool Runtime::load(const std::string &mode, Calls &c) {
  if (mode == "CUDA") {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    return driver && find(driver, "cuDeviceGetCount", c.count) && find(driver, "cuDevicePrimaryCtxRetain", c.retain) &&
           find(driver, "cuCtxSetCurrent", c.set_current) && find(driver, "cuEventCreate", c.event_create) &&
           find(driver, "cuEventRecord", c.event_record) && find(driver, "cuEventDestroy_v2", c.event_destroy) &&
           find(driver, "cuEventSynchronize", c.event_synchronize) &&
           find(driver, "cuEventElapsedTime", c.event_elapsed) && find(driver, "cuStreamWaitEvent", c.stream_wait) &&
           find(driver, "cuStreamSynchronize", c.stream_synchronize) &&
           find(driver, "cuMemHostRegister_v2", c.host_register) &&
           find(driver, "cuMemHostUnregister", c.host_unregister);
  }
  if (mode == "HIP") {
    void *driver = dlopen("libamdhip64.so", RTLD_NOW | RTLD_GLOBAL);
    return driver && find(driver, "hipGetDeviceCount", c.count) && find(driver, "hipSetDevice", c.set_device) &&
           find(driver, "hipEventCreateWithFlags", c.event_create) && find(driver, "hipEventRecord", c.event_record) &&
           find(driver, "hipEventDestroy", c.event_destroy) &&
           find(driver, "hipEventSynchronize", c.event_synchronize) &&
           find(driver, "hipEventElapsedTime", c.event_elapsed) && find(driver, "hipStreamWaitEvent", c.stream_wait) &&
           find(driver, "hipStreamSynchronize", c.stream_synchronize) &&
           find(driver, "hipHostRegister", c.host_register) && find(driver, "hipHostUnregister", c.host_unregister);
  }
  return false;
}

std::unique_ptr<Runtime> Runtime::open(const std::string &mode, int ordinal) {
  std::unique_ptr<Runtime> runtime(new Runtime);
  if (!load(mode, runtime->calls_)) return nullptr;
  runtime->mode_ = mode;
  runtime->ordinal_ = ordinal;
  if (runtime->calls_.retain) {
    runtime->check(runtime->calls_.retain(&runtime->context_, ordinal), "cuDevicePrimaryCtxRetain");
  }
  return runtime;
}

int Runtime::device_count(const std::string &mode) {
  Calls calls;
  int count = 0;
  if (!load(mode, calls) || calls.count(&count)) return 0;
  return count;
}

void Runtime::check(int status, const char *call) const {
  if (status) {
    throw Error{"DeviceError", mode_ + " device " + std::to_string(ordinal_) + ": " + call + " failed with status " +
                                   std::to_string(status) + "; an earlier kernel may have faulted"};
  }
}

void Runtime::enter() {
  if (calls_.set_current) {
    check(calls_.set_current(context_), "cuCtxSetCurrent");
  } else {
    check(calls_.set_device(ordinal_), "hipSetDevice");
  }
}

void Runtime::order(uintptr_t before, uintptr_t after) {
  if (before == after) return;
  void *event = nullptr;
  check(calls_.event_create(&event, kUntimed), "event create");
  check(calls_.event_record(event, reinterpret_cast<void *>(before)), "event record");
  check(calls_.stream_wait(reinterpret_cast<void *>(after), event, 0), "stream wait");
  check(calls_.event_destroy(event), "event destroy");
}

void *Runtime::record(uintptr_t stream) {
  void *event = nullptr;
  check(calls_.event_create(&event, kTimed), "event create");
  check(calls_.event_record(event, reinterpret_cast<void *>(stream)), "event record");
  return event;
}

double Runtime::seconds_between(void *first, void *last) {
  wait(last);
  float milliseconds = 0;
  check(calls_.event_elapsed(&milliseconds, first, last), "event elapsed");
  return 1e-3 * static_cast<double>(milliseconds);
}

void Runtime::wait(void *event) { check(calls_.event_synchronize(event), "event synchronize"); }

void Runtime::destroy(void *event) {
  if (event) calls_.event_destroy(event);
}

void Runtime::pin(void *host, size_t bytes) { check(calls_.host_register(host, bytes, 0), "host register"); }

void Runtime::unpin(void *host) { calls_.host_unregister(host); }

void Runtime::synchronize(uintptr_t stream) {
  check(calls_.stream_synchronize(reinterpret_cast<void *>(stream)), "stream synchronize");
}
