# SPDX-License-Identifier: Apache-2.0
# One BPF object: compiled by clang for the BPF target, stripped of what only a debugger reads, and
# turned into a skeleton header. Rebuilt when any header it includes changes.
#
# Debian 12's clang first, the one tools/deps installs: everyone builds the same object.
find_program(CLANG NAMES clang-14 clang REQUIRED)
find_program(LLVM_STRIP NAMES llvm-strip-14 llvm-strip REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

function(slogate_bpf name)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${name}.bpf.c)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
  # -mcpu=v3: 32-bit arithmetic, jumps on it and compare-and-exchange; kernels since 5.12.
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CLANG} -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror
      -Wno-unused-parameter -Wno-address-of-packed-member
      -fno-ident -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -fdebug-compilation-dir=.
      -I${CMAKE_SOURCE_DIR} ${LIBBPF_CFLAGS}
      -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
    COMMAND ${LLVM_STRIP} -g ${object}
    DEPFILE ${object}.d
    DEPENDS ${source}
    COMMENT "BPF ${name}"
    VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND sh -c "\"$1\" gen skeleton \"$2\" name \"$3\" > \"$4.tmp\" && mv \"$4.tmp\" \"$4\""
      sh ${BPFTOOL} ${object} ${name}_bpf ${skeleton}
    DEPENDS ${object}
    VERBATIM)
  set_property(GLOBAL APPEND PROPERTY SLOGATE_SKELETONS ${skeleton})
endfunction()
