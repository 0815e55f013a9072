// Everything in which OCCA 1.0 and 2.0 differ for this extension.
#pragma once
#include <occa.hpp>
#include <string>

#if OCCA_VERSION < 20000
#include <occa/mode/serial/memory.hpp>
#if OCCA_CUDA_ENABLED
#include <occa/mode/cuda/memory.hpp>
#include <occa/mode/cuda/stream.hpp>
#endif
#endif

#include <cstring>
#include <thread>

namespace compat {
// A site's OCCA 1 builds in the thread that loaded it and crashes in any other; the bundled one is mended
// (cmake/tls.hpp).
inline bool can_build_here() {
  static const std::thread::id first = std::this_thread::get_id();
  return OCCA_VERSION >= 20000 || std::strcmp(INSITU_OCCA_ORIGIN, "bundled") == 0 ||
         std::this_thread::get_id() == first;
}

#if OCCA_VERSION >= 20000
using Properties = occa::json;
inline Properties parse(const std::string &text) { return occa::json::parse(text); }
inline occa::device make_device(const std::string &text) { return occa::device(parse(text)); }

inline occa::memory allocate(occa::device device, size_t bytes) { return device.malloc<char>(bytes); }

inline occa::memory wrap(occa::device device, void *pointer, size_t bytes, const std::string &) {
  return device.wrapMemory<char>(static_cast<char *>(pointer), bytes);
}

inline uintptr_t native_stream(occa::stream &stream, const std::string &) {
  return *static_cast<uintptr_t *>(stream.unwrap());
}

inline occa::stream wrap_stream(occa::device device, uintptr_t native, const std::string &) {
  return device.wrapStream(&native);
}

#else
using Properties = occa::properties;
inline Properties parse(const std::string &text) { return occa::properties(text); }
inline occa::device make_device(const std::string &text) { return occa::device(parse(text)); }

inline occa::memory allocate(occa::device device, size_t bytes) {
  return device.malloc(static_cast<occa::dim_t>(bytes), occa::dtype::byte);
}

// OCCA's own cpu::wrapMemory frees what it wraps; this one leaves it to its owner. (Not memoryProperties(): OCCA 1
// casts a json to the larger properties there, and a copy reads beyond it.)
inline occa::memory wrap(occa::device device, void *pointer, size_t bytes, const std::string &mode) {
  occa::modeMemory_t *memory = nullptr;
#if OCCA_CUDA_ENABLED
  if (mode == "CUDA") {
    auto *cuda = new occa::cuda::memory(device.getModeDevice(), bytes, occa::properties());
    cuda->cuPtr = reinterpret_cast<CUdeviceptr>(pointer);
    memory = cuda;
  }
#endif
  if (!memory) {
    memory = new occa::serial::memory(device.getModeDevice(), bytes, occa::properties());
    memory->ptr = static_cast<char *>(pointer);
  }
  memory->isOrigin = false;
  memory->dtype_ = &occa::dtype::byte;
  return occa::memory(memory);
}

inline uintptr_t native_stream(occa::stream &stream, const std::string &mode) {
#if OCCA_CUDA_ENABLED
  if (mode == "CUDA") {
    return reinterpret_cast<uintptr_t>(static_cast<occa::cuda::stream *>(stream.getModeStream())->cuStream);
  }
#endif
  return 0;
}

inline occa::stream wrap_stream(occa::device device, uintptr_t native, const std::string &mode) {
#if OCCA_CUDA_ENABLED
  // OCCA destroys the stream it holds; this one belongs to someone else.
  struct External : occa::cuda::stream {
    using occa::cuda::stream::stream;
    ~External() { cuStream = nullptr; }
  };
  if (mode == "CUDA") {
    return occa::stream(new External(device.getModeDevice(), occa::properties(), reinterpret_cast<CUstream>(native)));
  }
#endif
  return device.getStream();
}
#endif

inline occa::memory slice(const occa::memory &memory, size_t offset, size_t bytes) {
  return memory.slice(static_cast<occa::dim_t>(offset), static_cast<occa::dim_t>(bytes));
}
}  // namespace compat
