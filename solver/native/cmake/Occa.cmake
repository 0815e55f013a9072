# Provides the target OCCA::libocca: a site's own OCCA (environment variable OCCA_DIR), or the release built here.
# Sets INSITU_OCCA_ORIGIN ("site" or "bundled"), INSITU_OCCA_DIR (a site's prefix) and INSITU_OCCA_RPATH.

if(DEFINED ENV{OCCA_DIR} AND NOT "$ENV{OCCA_DIR}" STREQUAL "")
  set(INSITU_OCCA_ORIGIN site)
  file(REAL_PATH "$ENV{OCCA_DIR}" INSITU_OCCA_DIR)
  find_library(INSITU_OCCA_LIBRARY occa PATHS ${INSITU_OCCA_DIR}/lib ${INSITU_OCCA_DIR}/lib64 NO_DEFAULT_PATH NO_CACHE)
  if(NOT INSITU_OCCA_LIBRARY OR NOT EXISTS ${INSITU_OCCA_DIR}/include/occa.hpp)
    message(FATAL_ERROR "OCCA_DIR=${INSITU_OCCA_DIR} must hold include/occa.hpp and lib/libocca.so; "
                        "name an OCCA install prefix, or unset OCCA_DIR to build the bundled release")
  endif()
  add_library(OCCA::libocca SHARED IMPORTED)
  set_target_properties(OCCA::libocca PROPERTIES
    IMPORTED_LOCATION ${INSITU_OCCA_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${INSITU_OCCA_DIR}/include)
  get_filename_component(INSITU_OCCA_RPATH ${INSITU_OCCA_LIBRARY} DIRECTORY)
  find_path(INSITU_CUDA_INCLUDE cuda.h PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES include)
  if(INSITU_CUDA_INCLUDE)
    target_include_directories(OCCA::libocca INTERFACE ${INSITU_CUDA_INCLUDE})
  endif()
else()
  set(INSITU_OCCA_ORIGIN bundled)
  set(INSITU_OCCA_DIR "")
  set(INSITU_OCCA_RPATH "$ORIGIN/occa/lib")
  include(OccaBundled)
endif()
message(STATUS "OCCA: ${INSITU_OCCA_ORIGIN} ${INSITU_OCCA_DIR}")
