# SPDX-License-Identifier: Apache-2.0
# Debian's kernels, in guests. The oldest one slogate is meant for needs every stand-in; 5.10 is refused.
set(oldest linux-image-cloud-amd64/bookworm)
set(refused linux-image-5.10.0-46-cloud-amd64/bullseye-security)
set(newest linux-image-6.12-cloud-amd64)
set(SLOGATE_KERNELS "" CACHE STRING "more of them for the tests labelled `kernels`: PACKAGE or PACKAGE/SUITE")
set(guest ${CMAKE_CURRENT_SOURCE_DIR}/guest)
# What an agent saw under each, for the tables of docs/kernels.md.
set(seen ${CMAKE_BINARY_DIR}/kernels)
file(MAKE_DIRECTORY ${seen})

# What needs no minutes where a processor is emulated.
slogate_script(guest.kernel guest 1300 ${guest}/kernel_tests.sh ${oldest}
  "--gtest_filter=Request*:Answer*:Burst*:Path*:Failure*:*Ending*:Listener*:*Refused*:RoundTrip*:*Mptcp*:Class*:Outcome*:Breaks.*:BreakerTest.*:Namespaces.*:News*:RollCall*")
slogate_script(guest.agent guest 180 ${guest}/agent.sh ${oldest})

foreach(package ${oldest} ${newest} ${SLOGATE_KERNELS})
  string(REPLACE / - name ${package})
  slogate_script(kernels.kernel.${name} kernels 1300 ${guest}/kernel_tests.sh ${package})
  slogate_script(kernels.agent.${name} kernels 180 ${guest}/agent.sh ${package} ${seen}/${name}.json)
  list(APPEND kernel_tests kernels.kernel.${name})
  list(APPEND agents kernels.agent.${name})
endforeach()
list(APPEND kernel_tests guest.kernel)
set_tests_properties(${kernel_tests} PROPERTIES FIXTURES_REQUIRED kernel_tests)
slogate_script(kernels.host kernels 180 ${guest}/host.sh ${seen}/host.json)
slogate_script(kernels.refused kernels 180 ${guest}/agent.sh ${refused} ${seen}/refused.json)
slogate_script(kernels.tables kernels 10 ${guest}/table.sh ${seen})
set_tests_properties(kernels.tables PROPERTIES DEPENDS "${agents};kernels.host;kernels.refused")
