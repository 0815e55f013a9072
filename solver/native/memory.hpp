// Typed, shaped memory of a device. An Allocation owns bytes or keeps their producer alive; a Memory is a view of it,
// and every view handed to another library is a Lease that names itself when someone tries to free the bytes.
#pragma once
#include <list>
#include <vector>

#include "device.hpp"

enum class Dtype : uint8_t { int32, int64, float32, float64 };

struct DtypeInfo {
  Dtype dtype;
  const char *name, *typestr, *format;
  uint8_t bytes, dlpack_code;
};
const DtypeInfo &info(Dtype dtype);
Dtype dtype_from(const py::handle &name);  // a name, a NumPy dtype or a type such as numpy.float64

struct Lease;

struct Allocation {
  DevicePtr device;
  py::object owner;     // the producer of wrapped memory
  occa::memory handle;  // of the whole range
  char *pointer = nullptr;
  size_t bytes = 0;
  bool owned = false;  // host memory allocated here
  bool readonly = false;
  bool freed = false;
  std::list<Lease *> leases;

  ~Allocation() { release(); }
  occa::memory &range();  // the OCCA handle of all bytes; under the device's lock
  void release() noexcept;
};
using AllocationPtr = std::shared_ptr<Allocation>;

struct Lease {
  AllocationPtr allocation;
  std::string description;
  std::list<Lease *>::iterator position;

  Lease(AllocationPtr source, std::string text) : allocation(std::move(source)), description(std::move(text)) {
    position = allocation->leases.insert(allocation->leases.end(), this);
  }
  ~Lease() { allocation->leases.erase(position); }
  Lease(const Lease &) = delete;
};

struct Memory {
  AllocationPtr allocation;
  Dtype dtype;
  std::vector<int64_t> shape, strides;  // strides in elements
  size_t offset = 0;                    // bytes from the allocation's start
  bool readonly = false;
  occa::memory handle;                     // of exactly this range; made at first launch
  std::unique_ptr<Lease> view, interface;  // held by a view of another Memory; by one whose address was published

  Memory() = default;
  Memory(const Memory &) = delete;
  ~Memory() { forget_range(); }

  DeviceState &device() const { return *allocation->device; }
  char *pointer() const { return allocation->pointer + offset; }
  int64_t size() const;
  size_t bytes() const { return static_cast<size_t>(size()) * info(dtype).bytes; }
  size_t span() const;  // bytes from the first element to the end of the last
  bool is_contiguous() const;
  void require_alive() const;
  occa::memory &range();  // the OCCA handle a kernel receives; under the device's lock
  void forget_range() noexcept;
  std::string describe() const;
  std::unique_ptr<Memory> view_of(std::vector<int64_t> new_shape, std::vector<int64_t> new_strides,
                                  size_t new_offset) const;
};

std::unique_ptr<Memory> allocate(const DevicePtr &device, std::vector<int64_t> shape, Dtype dtype);
void copy_device_to_device(Memory &target, const Memory &source);
std::vector<int64_t> row_major(const std::vector<int64_t> &shape);
std::string text(const std::vector<int64_t> &shape);

py::object export_dlpack(const py::object &self, py::object stream, py::object max_version, py::object dl_device,
                         py::object copy);
std::unique_ptr<Memory> import_dlpack(const DevicePtr &device, const py::object &producer);
