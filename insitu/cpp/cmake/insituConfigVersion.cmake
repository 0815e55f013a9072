# find_package(insitu 0.1) takes any 0.1.x from the one that it names on: before 1.0 a minor version may change the interface.
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/insituVersion.cmake
  VERSION 0.1.0 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
include(${CMAKE_CURRENT_BINARY_DIR}/insituVersion.cmake)
