# Sets `archive` to the OCCA release archive, fetched or named by INSITU_OCCA_SOURCE, after checking what it is.

set(OCCA_VERSION_PINNED 0.4.1)
set(OCCA_SHA256 b0db99c506eef96078eacd5099303523f39fa4554c54e606ed98f57e3cf22a6f)

if(DEFINED ENV{INSITU_OCCA_SOURCE} AND NOT "$ENV{INSITU_OCCA_SOURCE}" STREQUAL "")
  set(archive "$ENV{INSITU_OCCA_SOURCE}")
  if(NOT EXISTS "${archive}" OR IS_DIRECTORY "${archive}")
    message(FATAL_ERROR "INSITU_OCCA_SOURCE must name the archive occa-${OCCA_VERSION_PINNED}.tar.gz, got '${archive}'; "
                        "download that release where there is a network and name the file, or unset the variable")
  endif()
else()
  set(archive ${CMAKE_BINARY_DIR}/occa-${OCCA_VERSION_PINNED}.tar.gz)
  if(NOT EXISTS ${archive})
    execute_process(COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/fetch_occa.py ${OCCA_VERSION_PINNED} ${archive}
                    RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "the OCCA release ${OCCA_VERSION_PINNED} could not be obtained; on a machine without a network "
                          "set INSITU_OCCA_SOURCE to a copy of the archive, or OCCA_DIR to an OCCA install")
    endif()
  endif()
endif()
file(SHA256 ${archive} sha256)
if(NOT sha256 STREQUAL OCCA_SHA256)
  message(FATAL_ERROR "${archive} must be the OCCA release ${OCCA_VERSION_PINNED} with SHA-256 ${OCCA_SHA256}, got ${sha256}; "
                      "remove it and obtain it again")
endif()
