# find_package(insitu 0.1 REQUIRED [COMPONENTS MPI]) gives the target insitu::insitu: the header insitu/insitu.hpp, the OCCA that
# insitu uses, and Python to embed. insitu_DIR is what `python -m insitu info --cmake-dir` prints.
#
# INSITU_PYTHON  the interpreter of the environment that has insitu; by default the one this file is installed in, or the active
#                one. It is what the application starts, unless the environment variable INSITU_PYTHON names another.

if(TARGET insitu::insitu)
  return()
endif()
include(CMakeFindDependencyMacro)

set(_insitu_candidates $ENV{INSITU_PYTHON})
if(CMAKE_CURRENT_LIST_DIR MATCHES "^(.*)/lib[^/]*/python[0-9.]+/(site|dist)-packages/insitu/cpp/cmake$")
  list(APPEND _insitu_candidates ${CMAKE_MATCH_1}/bin/python)
endif()
list(APPEND _insitu_candidates $ENV{VIRTUAL_ENV}/bin/python)
foreach(_insitu_candidate IN LISTS _insitu_candidates)
  if(NOT INSITU_PYTHON AND EXISTS "${_insitu_candidate}")
    set(INSITU_PYTHON "${_insitu_candidate}")
  endif()
endforeach()
if(NOT INSITU_PYTHON)
  find_program(INSITU_PYTHON NAMES python3 python)
endif()
set(INSITU_PYTHON "${INSITU_PYTHON}" CACHE FILEPATH "Interpreter of the environment that has insitu")

execute_process(
  COMMAND ${INSITU_PYTHON} -c
    "import pybind11, solver, solver.jit as jit; from solver import _occa; print(pybind11.get_cmake_dir(), jit.occa_directory(), _occa.occa_origin, sep=';', end='')"
  OUTPUT_VARIABLE _insitu_found ERROR_VARIABLE _insitu_said RESULT_VARIABLE _insitu_failed)
if(_insitu_failed)
  set(insitu_FOUND FALSE)
  set(insitu_NOT_FOUND_MESSAGE
    "${INSITU_PYTHON} must have insitu with its extra cpp (pip install 'insitu[cpp]'); it says: ${_insitu_said}")
  return()
endif()
list(POP_FRONT _insitu_found pybind11_DIR _insitu_occa _insitu_origin)

set(Python_EXECUTABLE "${INSITU_PYTHON}")
find_dependency(Python 3.11 COMPONENTS Interpreter Development.Embed)
find_dependency(pybind11 CONFIG)

if(NOT TARGET OCCA::libocca)
  add_library(OCCA::libocca SHARED IMPORTED)
  find_library(_insitu_libocca occa PATHS ${_insitu_occa}/lib ${_insitu_occa}/lib64 NO_DEFAULT_PATH NO_CACHE REQUIRED)
  set_target_properties(OCCA::libocca PROPERTIES
    IMPORTED_LOCATION ${_insitu_libocca} INTERFACE_INCLUDE_DIRECTORIES ${_insitu_occa}/include)
endif()

get_filename_component(_insitu_sources ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
add_library(insitu STATIC ${_insitu_sources}/insitu.cpp)
add_library(insitu::insitu ALIAS insitu)
target_compile_features(insitu PUBLIC cxx_std_17)
set_target_properties(insitu PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
target_include_directories(insitu PUBLIC ${_insitu_sources}/include)
target_link_libraries(insitu PUBLIC OCCA::libocca PRIVATE pybind11::embed ${CMAKE_DL_LIBS})
target_compile_definitions(insitu PRIVATE INSITU_PYTHON="${INSITU_PYTHON}")
if(_insitu_origin STREQUAL "bundled")
  target_compile_definitions(insitu PRIVATE INSITU_OCCA_DIR="${_insitu_occa}")
endif()
if("MPI" IN_LIST insitu_FIND_COMPONENTS)
  find_dependency(MPI COMPONENTS CXX)
  target_link_libraries(insitu PUBLIC MPI::MPI_CXX)
  target_compile_definitions(insitu PUBLIC INSITU_HAS_MPI)
  set(insitu_MPI_FOUND TRUE)
endif()
