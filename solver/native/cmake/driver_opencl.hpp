// Forced into OCCA 1.0.8's OpenCL sources: the loader's symbols are weak, so that the library loads on a machine
// without an OpenCL loader, where the mode then counts as absent.
#pragma once
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#define INSITU_WEAK(function) extern "C" __attribute__((weak)) decltype(function) function;
INSITU_WEAK(clBuildProgram)
INSITU_WEAK(clCreateBuffer)
INSITU_WEAK(clCreateCommandQueue)
INSITU_WEAK(clCreateContext)
INSITU_WEAK(clCreateKernel)
INSITU_WEAK(clCreateProgramWithBinary)
INSITU_WEAK(clCreateProgramWithSource)
INSITU_WEAK(clCreateSubBuffer)
INSITU_WEAK(clEnqueueCopyBuffer)
INSITU_WEAK(clEnqueueMapBuffer)
INSITU_WEAK(clEnqueueMarker)
INSITU_WEAK(clEnqueueMarkerWithWaitList)
INSITU_WEAK(clEnqueueNDRangeKernel)
INSITU_WEAK(clEnqueueReadBuffer)
INSITU_WEAK(clEnqueueUnmapMemObject)
INSITU_WEAK(clEnqueueWriteBuffer)
INSITU_WEAK(clFinish)
INSITU_WEAK(clGetDeviceIDs)
INSITU_WEAK(clGetDeviceInfo)
INSITU_WEAK(clGetEventProfilingInfo)
INSITU_WEAK(clGetKernelWorkGroupInfo)
INSITU_WEAK(clGetPlatformIDs)
INSITU_WEAK(clGetProgramBuildInfo)
INSITU_WEAK(clGetProgramInfo)
INSITU_WEAK(clReleaseCommandQueue)
INSITU_WEAK(clReleaseContext)
INSITU_WEAK(clReleaseEvent)
INSITU_WEAK(clReleaseKernel)
INSITU_WEAK(clReleaseMemObject)
INSITU_WEAK(clSetKernelArg)
INSITU_WEAK(clWaitForEvents)
#undef INSITU_WEAK

namespace insitu_driver {
inline cl_int platforms(cl_uint entries, cl_platform_id *ids, cl_uint *count) {
  return clGetPlatformIDs ? clGetPlatformIDs(entries, ids, count) : CL_DEVICE_NOT_FOUND;
}
}  // namespace insitu_driver
#define clGetPlatformIDs insitu_driver::platforms
