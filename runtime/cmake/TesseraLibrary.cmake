# libtessera: one shared library with LLVM inside that exports nothing but tessera:: symbols, its install rules and its package files.
include(CMakePackageConfigHelpers)
include(${CMAKE_CURRENT_LIST_DIR}/TesseraAddKernels.cmake)

set(tessera_anchor ${PROJECT_BINARY_DIR}/generated/tessera_library.cpp)
file(CONFIGURE OUTPUT ${tessera_anchor} CONTENT "// The library's code comes from its static parts.\n")
set(tessera_exports ${CMAKE_CURRENT_LIST_DIR}/exports.map)

add_library(tessera SHARED ${tessera_anchor})
add_library(tessera::tessera ALIAS tessera)
target_link_libraries(tessera PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,tessera_objects>)
target_compile_features(tessera INTERFACE cxx_std_20)
target_include_directories(tessera INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/runtime/include>
                                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_options(tessera PRIVATE -Wl,--version-script=${tessera_exports} -Wl,--gc-sections -Wl,--build-id=sha1)
set_target_properties(
  tessera
  PROPERTIES VERSION ${PROJECT_VERSION}
             SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
             LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
             LINK_DEPENDS ${tessera_exports})
set_target_properties(tessera_cli PROPERTIES EXPORT_NAME cli)
add_executable(tessera::cli ALIAS tessera_cli)

# The package files serve both the build tree and an install prefix.
set(tessera_package ${CMAKE_INSTALL_LIBDIR}/cmake/tessera)
set(tessera_build_package ${PROJECT_BINARY_DIR}/cmake/tessera)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/tesseraConfig.cmake.in ${tessera_build_package}/tesseraConfig.cmake
                              INSTALL_DESTINATION ${tessera_package} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
configure_file(${CMAKE_CURRENT_LIST_DIR}/TesseraAddKernels.cmake ${tessera_build_package}/TesseraAddKernels.cmake COPYONLY)
# Before 1.0 a minor version may change anything.
write_basic_package_version_file(${tessera_build_package}/tesseraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# The prefix is found from the place of the .pc file, so an installed tree can be moved.
file(RELATIVE_PATH tessera_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" tessera_pc_prefix "${tessera_pc_prefix}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/tessera.pc.in ${PROJECT_BINARY_DIR}/tessera.pc @ONLY)

if(TESSERA_INSTALL)
  install(
    TARGETS tessera tessera_cli
    EXPORT tesseraTargets
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/runtime/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/kernels DESTINATION ${CMAKE_INSTALL_DATADIR}/tessera COMPONENT runtime
          FILES_MATCHING PATTERN *.tile PATTERN *.winners)
  install(FILES ${tessera_build_package}/tesseraConfig.cmake ${tessera_build_package}/tesseraConfigVersion.cmake
                ${tessera_build_package}/TesseraAddKernels.cmake
          DESTINATION ${tessera_package} COMPONENT dev)
  install(EXPORT tesseraTargets NAMESPACE tessera:: DESTINATION ${tessera_package} COMPONENT dev)
  install(FILES ${PROJECT_BINARY_DIR}/tessera.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/runtime/THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
  export(EXPORT tesseraTargets NAMESPACE tessera:: FILE ${tessera_build_package}/tesseraTargets.cmake)
endif()
