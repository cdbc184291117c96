# SPDX-License-Identifier: Apache-2.0
# slogate_room(NAME [SOURCES FILE...] [USES LIBRARY...] MAY_INCLUDE ROOM...)
#
# The library slogate_NAME of the sources here but main.cpp, above those of the rooms that it may include. The table
# of these is in docs/architecture.md; tools/rooms checks that both say the same.
function(slogate_room name)
  cmake_parse_arguments(PARSE_ARGV 1 room "" "" "SOURCES;USES;MAY_INCLUDE")
  if(NOT room_SOURCES)
    file(GLOB room_SOURCES CONFIGURE_DEPENDS *.cpp)
    list(FILTER room_SOURCES EXCLUDE REGEX "/main\\.cpp$")
  endif()
  list(TRANSFORM room_MAY_INCLUDE PREPEND slogate_)
  add_library(slogate_${name} STATIC ${room_SOURCES})
  target_link_libraries(slogate_${name} PUBLIC ${room_MAY_INCLUDE} PRIVATE ${room_USES})
endfunction()
