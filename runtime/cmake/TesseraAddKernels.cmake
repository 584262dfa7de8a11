# tessera_add_kernels(TARGET FILE...): makes the typed header of each .tile file, its source embedded, and lets TARGET include it.
#
#   tessera_add_kernels(app kernels/scale.tile)      ->      #include "scale.tile.h"
#
# A header is made again when its file, or any .tile file beside it (an import, perhaps), changes.
function(tessera_add_kernels target)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/tessera_kernels/${target})
  file(MAKE_DIRECTORY ${folder})
  foreach(file ${ARGN})
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    cmake_path(GET file FILENAME name)
    cmake_path(GET file PARENT_PATH beside)
    file(GLOB imports CONFIGURE_DEPENDS ${beside}/*.tile)
    add_custom_command(
      OUTPUT ${folder}/${name}.h
      COMMAND tessera::cli header ${file} -o ${folder}/${name}.h
      DEPENDS ${file} ${imports} tessera::cli
      COMMENT "Typed header of ${name}"
      VERBATIM)
    target_sources(${target} PRIVATE ${folder}/${name}.h)
  endforeach()
  target_include_directories(${target} PRIVATE ${folder})
  target_link_libraries(${target} PRIVATE tessera::tessera)
endfunction()
