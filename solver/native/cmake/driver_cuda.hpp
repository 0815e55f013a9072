// Forced into OCCA 1.0.8's CUDA sources. Four purposes:
// the driver's symbols are weak, so that the library loads on a machine without a driver; OCCA uses the primary
// context, which torch and CuPy use too, in place of a private one; a module is unloaded once, though each loop nest of a
// kernel asks for it; calls that CUDA 13 changed keep their old form.
#pragma once
#include <cuda.h>

#include <mutex>
#include <set>

#define INSITU_WEAK(function) extern "C" __attribute__((weak)) decltype(function) function;
INSITU_WEAK(cuInit)
INSITU_WEAK(cuCtxEnablePeerAccess)
INSITU_WEAK(cuCtxGetDevice)
INSITU_WEAK(cuCtxPopCurrent)
INSITU_WEAK(cuCtxPushCurrent)
INSITU_WEAK(cuCtxSetCurrent)
INSITU_WEAK(cuDeviceCanAccessPeer)
INSITU_WEAK(cuDeviceComputeCapability)
INSITU_WEAK(cuDeviceGet)
INSITU_WEAK(cuDeviceGetCount)
INSITU_WEAK(cuDeviceGetName)
INSITU_WEAK(cuDevicePrimaryCtxRelease)
INSITU_WEAK(cuDevicePrimaryCtxRetain)
INSITU_WEAK(cuDeviceTotalMem)
INSITU_WEAK(cuEventCreate)
INSITU_WEAK(cuEventDestroy)
INSITU_WEAK(cuEventElapsedTime)
INSITU_WEAK(cuEventRecord)
INSITU_WEAK(cuEventSynchronize)
INSITU_WEAK(cuFuncGetAttribute)
INSITU_WEAK(cuLaunchKernel)
INSITU_WEAK(cuMemAlloc)
INSITU_WEAK(cuMemAllocHost)
INSITU_WEAK(cuMemAllocManaged)
INSITU_WEAK(cuMemFree)
INSITU_WEAK(cuMemFreeHost)
INSITU_WEAK(cuMemHostGetDevicePointer)
INSITU_WEAK(cuMemcpyDtoD)
INSITU_WEAK(cuMemcpyDtoDAsync)
INSITU_WEAK(cuMemcpyDtoH)
INSITU_WEAK(cuMemcpyDtoHAsync)
INSITU_WEAK(cuMemcpyHtoD)
INSITU_WEAK(cuMemcpyHtoDAsync)
INSITU_WEAK(cuMemcpyPeer)
INSITU_WEAK(cuMemcpyPeerAsync)
INSITU_WEAK(cuModuleGetFunction)
INSITU_WEAK(cuModuleLoad)
INSITU_WEAK(cuModuleUnload)
INSITU_WEAK(cuStreamCreate)
INSITU_WEAK(cuStreamDestroy)
INSITU_WEAK(cuStreamSynchronize)
#if CUDA_VERSION >= 13000
INSITU_WEAK(cuMemAdvise_v2)
INSITU_WEAK(cuMemPrefetchAsync_v2)
#else
INSITU_WEAK(cuMemAdvise)
INSITU_WEAK(cuMemPrefetchAsync)
#endif
#undef INSITU_WEAK

namespace insitu_driver {
inline CUresult init(unsigned flags) { return cuInit ? cuInit(flags) : CUDA_ERROR_NO_DEVICE; }

inline CUresult retain(CUcontext *context, unsigned, CUdevice device) {
  const CUresult error = cuDevicePrimaryCtxRetain(context, device);
  return error ? error : cuCtxSetCurrent(*context);
}

inline CUresult release(CUcontext context) {
  CUdevice device;
  CUresult error = cuCtxPushCurrent(context);
  if (!error) error = cuCtxGetDevice(&device);
  CUcontext popped;
  if (!error) error = cuCtxPopCurrent(&popped);
  if (!error) error = cuDevicePrimaryCtxRelease(device);
  return error == CUDA_ERROR_DEINITIALIZED ? CUDA_SUCCESS : error;
}

// A stream that belongs to someone else reaches OCCA's destructor as NULL.
inline CUresult destroyStream(CUstream stream) {
  if (!stream) return CUDA_SUCCESS;
  const CUresult error = cuStreamDestroy(stream);
  return error == CUDA_ERROR_DEINITIALIZED ? CUDA_SUCCESS : error;
}

struct Modules {
  std::mutex mutex;
  std::set<CUmodule> loaded;
  static Modules &all() {
    static Modules *modules = new Modules;
    return *modules;
  }
};

inline CUresult load(CUmodule *module, const char *file) {
  const CUresult error = cuModuleLoad(module, file);
  std::lock_guard<std::mutex> guard(Modules::all().mutex);
  if (!error) Modules::all().loaded.insert(*module);
  return error;
}

inline CUresult unload(CUmodule module) {
  {
    std::lock_guard<std::mutex> guard(Modules::all().mutex);
    if (!Modules::all().loaded.erase(module)) return CUDA_SUCCESS;
  }
  const CUresult error = cuModuleUnload(module);
  return error == CUDA_ERROR_DEINITIALIZED ? CUDA_SUCCESS : error;
}

#if CUDA_VERSION >= 13000
inline CUmemLocation location(CUdevice device) {
  CUmemLocation where = {};
  where.type = device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
  where.id = device == CU_DEVICE_CPU ? 0 : device;
  return where;
}

inline CUresult advise(CUdeviceptr pointer, size_t bytes, CUmem_advise advice, CUdevice device) {
  return cuMemAdvise_v2(pointer, bytes, advice, location(device));
}

inline CUresult prefetch(CUdeviceptr pointer, size_t bytes, CUdevice device, CUstream stream) {
  return cuMemPrefetchAsync_v2(pointer, bytes, location(device), 0, stream);
}
#endif
}  // namespace insitu_driver

#undef cuCtxCreate
#undef cuCtxDestroy
#undef cuStreamDestroy
#define cuInit insitu_driver::init
#define cuModuleLoad insitu_driver::load
#define cuModuleUnload insitu_driver::unload
#define cuCtxCreate insitu_driver::retain
#define cuCtxDestroy insitu_driver::release
#define cuStreamDestroy insitu_driver::destroyStream
#if CUDA_VERSION >= 13000
#undef cuMemAdvise
#undef cuMemPrefetchAsync
#define cuMemAdvise insitu_driver::advise
#define cuMemPrefetchAsync insitu_driver::prefetch
#endif
