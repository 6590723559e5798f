# How a folder of modules becomes a library and its unit tests.

set(TRUNKLINE_WARNINGS -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
                       -Wwrite-strings -Wpointer-arith -Wundef -Wvla)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  list(APPEND TRUNKLINE_WARNINGS -Wthread-safety)
endif()

# Flags of every target of ours.
add_library(trunkline_flags INTERFACE)
# Places in the log (includeSource, GET-LOG) are those of the tree, not of the machine that built it.
target_compile_options(trunkline_flags INTERFACE ${TRUNKLINE_WARNINGS} -fno-omit-frame-pointer
                       -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=
                       $<$<CONFIG:Release>:-O2> $<$<CONFIG:Debug>:-O1 -g>)
# gcc fills and copies structs of some hundred octets by string instructions, which take longer to start than all the rest:
# a message is described by such structs at each step of its way.
include(CheckCCompilerFlag)
set(TRUNKLINE_STRUCTS -mmemset-strategy=vector_loop:1024:noalign,libcall:-1:noalign
                      -mmemcpy-strategy=vector_loop:1024:noalign,libcall:-1:noalign)
string(REPLACE ";" " " TRUNKLINE_STRUCTS_FLAGS "${TRUNKLINE_STRUCTS}")
check_c_compiler_flag("${TRUNKLINE_STRUCTS_FLAGS}" TRUNKLINE_HAS_STRUCTS)
if(TRUNKLINE_HAS_STRUCTS)
  target_compile_options(trunkline_flags INTERFACE $<$<CONFIG:Release>:${TRUNKLINE_STRUCTS}>)
endif()
target_compile_definitions(trunkline_flags INTERFACE _GNU_SOURCE TRUNKLINE_VERSION="${PROJECT_VERSION}")
target_include_directories(trunkline_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR})
if(TRUNKLINE_SANITIZE)
  target_compile_options(trunkline_flags INTERFACE -fsanitize=${TRUNKLINE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(trunkline_flags INTERFACE -fsanitize=${TRUNKLINE_SANITIZE})
endif()

# trunkline_modules(NAME [DEPENDS targets...])
# All modules (*.c) of the current folder as static library NAME; each foo_test.c beside them as ctest NAME/foo.
function(trunkline_modules name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.c)
  file(GLOB tests CONFIGURE_DEPENDS *_test.c)
  list(REMOVE_ITEM sources ${tests} "")
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS} Threads::Threads PRIVATE trunkline_flags)
  if(BUILD_TESTING)
    foreach(test ${tests})
      get_filename_component(stem ${test} NAME_WE)
      string(REGEX REPLACE "_test$" "" stem ${stem})
      set(target ${name}_${stem}_test)
      add_executable(${target} ${test})
      set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
      target_link_libraries(${target} PRIVATE ${name} PkgConfig::CMOCKA trunkline_flags)
      add_test(NAME ${name}/${stem} COMMAND ${target})
      set_tests_properties(${name}/${stem} PROPERTIES TIMEOUT 120 LABELS unit)
    endforeach()
  endif()
endfunction()
