# SPDX-License-Identifier: Apache-2.0
# The style and the script of the page as strings in assets.cpp, each with its hash as a
# Content-Security-Policy names it: the browser then runs these and nothing else.

# base64 of what is written in hexadecimal digits.
function(slogate_base64 hex to)
  set(digits ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
  string(LENGTH ${hex} length)
  set(text "")
  foreach(at RANGE 0 ${length} 6)
    if(at EQUAL ${length})
      break()
    endif()
    string(SUBSTRING ${hex} ${at} 6 three)
    string(LENGTH ${three} present)
    string(SUBSTRING ${three}0000 0 6 three)
    # 2 digits are a byte, which takes 2 of 4 characters; 4 take 3; 6 all.
    math(EXPR most "${present} / 2")
    foreach(which RANGE 0 ${most})
      math(EXPR digit "(0x${three} >> (18 - 6 * ${which})) & 63")
      string(SUBSTRING ${digits} ${digit} 1 character)
      string(APPEND text ${character})
    endforeach()
    math(EXPR missing "3 - ${most}")
    string(REPEAT "=" ${missing} padding)
    string(APPEND text "${padding}")
  endforeach()
  set(${to} ${text} PARENT_SCOPE)
endfunction()

function(slogate_page_assets style script)
  foreach(kind style script)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${${kind}})
    file(READ ${${kind}} ${kind}_text)
    file(SHA256 ${CMAKE_CURRENT_SOURCE_DIR}/${${kind}} hex)
    slogate_base64(${hex} ${kind}_hash)
  endforeach()
  configure_file(assets.cpp.in assets.cpp @ONLY)
endfunction()
