#include <pybind11/stl.h>

#include "device.hpp"
#include "occa_compat.hpp"

#if OCCA_VERSION >= 20000
#include <occa/utils/env.hpp>
#else
#include <occa/mode.hpp>
#include <occa/tools/env.hpp>
#endif

namespace {
// OCCA reads its environment when it is loaded; these take effect afterwards.
void configure(const std::string &occa_dir, const std::string &cache_dir) {
  occa::env::OCCA_DIR = occa_dir;
  occa::env::OCCA_CACHE_DIR = cache_dir;
#if OCCA_VERSION >= 20000
  occa::env::OCCA_INSTALL_DIR = occa_dir;
#endif
}

std::vector<std::string> modes_built() {
  std::vector<std::string> modes{"Serial"};
  if (OCCA_OPENMP_ENABLED) modes.emplace_back("OpenMP");
  if (OCCA_CUDA_ENABLED) modes.emplace_back("CUDA");
  if (OCCA_HIP_ENABLED) modes.emplace_back("HIP");
  if (OCCA_OPENCL_ENABLED) modes.emplace_back("OpenCL");
  return modes;
}
}  // namespace

void set_pending(const Error &error) {
  const py::object type = py::module_::import("solver.errors").attr(error.type);
  PyErr_SetString(type.ptr(), error.text.c_str());
}

PYBIND11_MODULE(_occa, m) {
  m.doc() = "OCCA devices, memory and kernels. The public names are those of the package solver.";
  m.attr("occa_version") = OCCA_VERSION_STR;
  m.attr("occa_version_number") = OCCA_VERSION;
  m.attr("occa_origin") = INSITU_OCCA_ORIGIN;
  m.attr("occa_dir") = INSITU_OCCA_DIR;

  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error &error) {
      set_pending(error);
    } catch (const occa::exception &error) {
      set_pending({"DeviceError", error.message});
    }
  });
  compat::can_build_here();  // this thread can
  bind_device(m);
  bind_memory(m);
  bind_kernel(m);
  m.def("configure", &configure, py::arg("occa_dir"), py::arg("cache_dir"));
  m.def("modes_built", &modes_built);
  m.def("is_present", [](const std::string &mode) { return occa::modeIsEnabled(mode); }, py::arg("mode"));
  m.def("device_count", &Runtime::device_count, py::arg("mode"));
}
