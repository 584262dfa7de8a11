# Three projects that use Tessera the three ways a user can: from an installed prefix, as a folder of their own tree, through pkg-config.
set(prefix ${PROJECT_BINARY_DIR}/prefix)
set(common_options -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER})

add_test(NAME downstream.install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${prefix})
set_tests_properties(downstream.install PROPERTIES FIXTURES_SETUP installed)

function(tessera_downstream_test name)
  cmake_parse_arguments(arg "" "FOLDER" "OPTIONS;COMMAND" ${ARGN})
  add_test(
    NAME downstream.${name}
    COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/${name}_project ${arg_FOLDER} --build-generator Ninja
            --build-options ${common_options} ${arg_OPTIONS} --test-command ${arg_COMMAND})
endfunction()

tessera_downstream_test(find_package FOLDER ${PROJECT_BINARY_DIR}/downstream/find_package OPTIONS -DCMAKE_PREFIX_PATH=${prefix} COMMAND app)
set_tests_properties(downstream.find_package PROPERTIES FIXTURES_REQUIRED installed FIXTURES_SETUP downstream_app)

# The same program against the build tree, without an install.
add_test(
  NAME downstream.build_tree
  COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/find_package_project ${PROJECT_BINARY_DIR}/downstream/build_tree
          --build-generator Ninja --build-options ${common_options} -Dtessera_DIR=${PROJECT_BINARY_DIR}/cmake/tessera
          --test-command app)

# This one compiles the whole library again. Beside our build folder and with our flags, every file is in the compiler cache already.
tessera_downstream_test(
  add_subdirectory
  FOLDER ${PROJECT_BINARY_DIR}_add_subdirectory
  OPTIONS -DTESSERA_WERROR=${TESSERA_WERROR} -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER} -DCMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH}
          "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=${CMAKE_CXX_FLAGS_RELWITHDEBINFO}" -DTESSERA_SOURCE=${PROJECT_SOURCE_DIR}
  COMMAND app)
set_tests_properties(downstream.add_subdirectory PROPERTIES TIMEOUT 1800 PROCESSORS 2)

add_test(NAME downstream.pkg_config COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/pkg_config_project/build.sh ${CMAKE_CXX_COMPILER}
                                            ${prefix}/${CMAKE_INSTALL_LIBDIR}/pkgconfig ${PROJECT_BINARY_DIR}/downstream/pkg_config)
set_tests_properties(downstream.pkg_config PROPERTIES FIXTURES_REQUIRED installed SKIP_RETURN_CODE 77)

# A host that carries its own LLVM: preloaded, so that its symbols come first for everybody, and opened once more by the program, which so knows it is there.
file(GLOB shared_llvm /usr/lib/llvm-22/lib/libLLVM.so* /usr/lib/llvm-*/lib/libLLVM.so* /usr/lib/x86_64-linux-gnu/libLLVM*.so*)
list(APPEND shared_llvm none)
list(GET shared_llvm 0 shared_llvm)
add_test(NAME downstream.own_llvm COMMAND ${PROJECT_BINARY_DIR}/downstream/find_package/app ${shared_llvm})
set_tests_properties(downstream.own_llvm PROPERTIES FIXTURES_REQUIRED "installed;downstream_app" SKIP_RETURN_CODE 77)
if(NOT shared_llvm STREQUAL none)
  set_tests_properties(downstream.own_llvm PROPERTIES ENVIRONMENT LD_PRELOAD=${shared_llvm})
endif()

# The second program of that project takes its kernel from a .tile file through tessera_add_kernels.
add_test(NAME downstream.add_kernels COMMAND ${PROJECT_BINARY_DIR}/downstream/find_package/typed)
set_tests_properties(downstream.add_kernels PROPERTIES FIXTURES_REQUIRED "installed;downstream_app")
