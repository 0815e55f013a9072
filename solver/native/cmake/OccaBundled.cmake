# Builds libocca from the release archive the OCCA authors publish, without their Makefile: Serial and OpenMP always,
# CUDA and OpenCL where their headers are found, their libraries resolved only when a driver is there (driver_*.hpp).
# The HIP sources of this release do not compile against its own headers; HIP comes with a site's OCCA 2.

include(OccaArchive)

set(tree ${CMAKE_BINARY_DIR}/occa-source)
if(NOT EXISTS ${tree})
  file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${tree}.partial
       PATTERNS "*/occa.git/src/*" "*/occa.git/include/*" "*/occa.git/scripts/*" "*/occa.git/LICENSE")
  file(RENAME ${tree}.partial ${tree})
endif()
set(occa ${tree}/occa-${OCCA_VERSION_PINNED}/occa/c/occa.git)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/occa-compat/sys)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/occa-compat/sys/sysctl.h CONTENT "#pragma once\n")

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_path(INSITU_CUDA_INCLUDE cuda.h PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES include)
find_path(INSITU_OPENCL_INCLUDE CL/cl.h PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES include)

set(OCCA_OS OCCA_LINUX_OS)
set(OCCA_USING_VS 0)
set(OCCA_UNSAFE 0)
set(OCCA_MPI_ENABLED 0)
set(OCCA_HIP_ENABLED 0)
set(OCCA_OPENMP_ENABLED 1)
set(OCCA_CUDA_ENABLED 0)
set(OCCA_OPENCL_ENABLED 0)
if(INSITU_CUDA_INCLUDE)
  set(OCCA_CUDA_ENABLED 1)
endif()
if(INSITU_OPENCL_INCLUDE)
  set(OCCA_OPENCL_ENABLED 1)
endif()
file(READ ${occa}/scripts/compiledDefinesTemplate.hpp defines)
string(REPLACE "@@" "@" defines "${defines}")
file(CONFIGURE OUTPUT ${occa}/include/occa/defines/compiledDefines.hpp CONTENT "${defines}" @ONLY)

configure_file(${CMAKE_CURRENT_LIST_DIR}/tls.hpp ${occa}/include/occa/tools/tls.hpp COPYONLY)

file(GLOB_RECURSE sources ${occa}/src/*.cpp)
list(FILTER sources EXCLUDE REGEX "/src/c/|/mode/hip/|/tools/testing.cpp|/core/kernelOperators.cpp|/tools/runFunction.cpp")
add_library(libocca SHARED ${sources})
add_library(OCCA::libocca ALIAS libocca)
set_target_properties(libocca PROPERTIES
  OUTPUT_NAME occa UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16 CXX_STANDARD 14 CXX_EXTENSIONS ON)
target_include_directories(libocca PUBLIC ${occa}/include PRIVATE ${occa}/src ${CMAKE_BINARY_DIR}/occa-compat)
target_compile_options(libocca PRIVATE -w)
target_link_libraries(libocca PRIVATE OpenMP::OpenMP_CXX Threads::Threads ${CMAKE_DL_LIBS})

function(occa_driver folder header include)
  set(files ${sources})
  list(FILTER files INCLUDE REGEX "/mode/${folder}/")
  set_source_files_properties(${files} PROPERTIES COMPILE_OPTIONS "-include;${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${header}")
  target_include_directories(libocca PUBLIC ${include})
endfunction()
if(OCCA_CUDA_ENABLED)
  occa_driver(cuda driver_cuda.hpp ${INSITU_CUDA_INCLUDE})
endif()
if(OCCA_OPENCL_ENABLED)
  occa_driver(opencl driver_opencl.hpp ${INSITU_OPENCL_INCLUDE})
endif()

install(TARGETS libocca DESTINATION solver/occa/lib)
install(DIRECTORY ${occa}/include DESTINATION solver/occa)
install(FILES ${occa}/LICENSE DESTINATION solver/occa)
