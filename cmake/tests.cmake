# SPDX-License-Identifier: Apache-2.0
# Tests for ctest, each named LABEL.NAME. Whoever runs one alone gets what it needs built first. Those
# that look at the machine, or at how long something takes, run when no other does.

# What GoogleTest's programs run by: ctest looks for the command before it is built. The sanitizers of gcc
# 12 can't place their shadow under the address randomization of new kernels. What was built for another
# architecture runs in its emulator.
set(steady env ${CMAKE_CROSSCOMPILING_EMULATOR})
if(SLOGATE_SANITIZE)
  execute_process(COMMAND setarch -R true RESULT_VARIABLE no_setarch OUTPUT_QUIET ERROR_QUIET)
  if(NOT no_setarch)
    set(steady setarch -R)
  endif()
endif()

# slogate_built(TARGET): the fixture of tests that need TARGET.
function(slogate_built target)
  add_test(NAME build.${target} COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR} --target ${target})
  set_tests_properties(build.${target} PROPERTIES FIXTURES_SETUP ${target} LABELS build TIMEOUT 3600 RUN_SERIAL TRUE)
endfunction()

# slogate_suites(TARGET LABEL SECONDS FILE...): a test for each suite of GoogleTest in these files, known
# before they are compiled, and one that fails when TARGET has another suite.
function(slogate_suites target label seconds)
  slogate_built(${target})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ARGN})
  foreach(file ${ARGN})
    file(STRINGS ${file} lines REGEX "^(TYPED_)?TEST(_[FP])?\\([A-Za-z0-9_]+")
    foreach(line ${lines})
      string(REGEX REPLACE "^[A-Z_]+\\(([A-Za-z0-9_]+).*" "\\1" suite "${line}")
      list(APPEND suites ${suite})
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES suites)
  foreach(suite ${suites})
    add_test(NAME ${label}.${suite}
      COMMAND ${steady} $<TARGET_FILE:${target}> --gtest_filter=${suite}.*:*/${suite}.*:${suite}/*)
    list(APPEND tests ${label}.${suite})
  endforeach()
  add_test(NAME ${label}.suites COMMAND ${CMAKE_SOURCE_DIR}/tests/suites.sh ${steady} $<TARGET_FILE:${target}> -- ${suites})
  set_tests_properties(${tests} ${label}.suites PROPERTIES LABELS ${label} FIXTURES_REQUIRED ${target} TIMEOUT ${seconds}
    SKIP_RETURN_CODE 77 FAIL_REGULAR_EXPRESSION "\\[==========\\] 0 tests ")
  if(NOT label STREQUAL unit)
    set_tests_properties(${tests} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

# slogate_script(NAME LABEL SECONDS SCRIPT [ARGUMENT...]): a test of one script, which needs `programs`.
# ctest kills at once: timeout leaves a script the time to take away what it has made.
function(slogate_script name label seconds script)
  add_test(NAME ${name} COMMAND timeout --verbose --foreground -k 30 ${seconds} ${script} ${ARGN})
  math(EXPR limit "${seconds} + 40")
  set_tests_properties(${name} PROPERTIES LABELS ${label} FIXTURES_REQUIRED programs TIMEOUT ${limit}
    SKIP_RETURN_CODE 77 RUN_SERIAL TRUE ENVIRONMENT SLOGATE_PROGRAMS=${CMAKE_BINARY_DIR})
endfunction()

# slogate_scripts(FOLDER EXCEPT): its scripts, each with that label and 300 seconds, or what a line
# `# ctest: LABEL SECONDS` of its own says.
function(slogate_scripts folder except)
  file(GLOB scripts CONFIGURE_DEPENDS ${folder}/*.sh)
  list(FILTER scripts EXCLUDE REGEX "/(${except})\\.sh$")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${scripts})
  foreach(script ${scripts})
    cmake_path(GET script STEM name)
    set(label ${folder})
    set(seconds 300)
    file(STRINGS ${script} own REGEX "^# ctest: [a-z0-9]+ [0-9]+$")
    if(own MATCHES "^# ctest: ([a-z0-9]+) ([0-9]+)$")
      set(label ${CMAKE_MATCH_1})
      set(seconds ${CMAKE_MATCH_2})
    endif()
    slogate_script(${folder}.${name} ${label} ${seconds} ${script})
  endforeach()
endfunction()
