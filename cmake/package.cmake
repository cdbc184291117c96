# SPDX-License-Identifier: Apache-2.0
# The Debian package: tools/package. Manual pages are made from the --help of what was just built, so
# they are not part of `all`.
set(pages ${CMAKE_BINARY_DIR}/package)
add_custom_target(package_files
  COMMAND ${CMAKE_COMMAND} -E env "emulator=${CMAKE_CROSSCOMPILING_EMULATOR}"
    ${CMAKE_SOURCE_DIR}/packaging/man.sh ${CMAKE_BINARY_DIR} ${PROJECT_VERSION} ${pages}
  COMMAND sh -c "\"$0\" >\"$1\"" ${CMAKE_SOURCE_DIR}/packaging/changelog.sh ${pages}/changelog
  COMMAND sh -c "\"$0\" \"$1\" \"$2\" >\"$3\"" ${CMAKE_SOURCE_DIR}/tools/sbom
    $<TARGET_FILE:slogate-agent> $<TARGET_FILE:slogate> ${pages}/sbom.cdx.json
  COMMAND gzip -n9f ${pages}/slogate.1 ${pages}/slogate-agent.8 ${pages}/slogate.yaml.5
    ${pages}/changelog
  DEPENDS slogate slogate-agent
  VERBATIM)

install(TARGETS slogate-agent DESTINATION sbin)
install(TARGETS slogate DESTINATION bin)
install(FILES packaging/slogate-agent.service DESTINATION /lib/systemd/system)
# Not a conffile, which an upgrade would replace where it was not changed: postinst copies it into
# /etc at the first installation, and what is there is the administrator's.
install(FILES daemonset/slogate.yaml DESTINATION share/slogate)
install(FILES ${pages}/slogate.1.gz DESTINATION share/man/man1)
install(FILES ${pages}/slogate.yaml.5.gz DESTINATION share/man/man5)
install(FILES ${pages}/slogate-agent.8.gz DESTINATION share/man/man8)
install(FILES packaging/completion.zsh RENAME _slogate DESTINATION share/zsh/vendor-completions)
# These shells look for a file of the command's name.
foreach(program slogate slogate-agent)
  install(FILES packaging/completion.bash RENAME ${program}
    DESTINATION share/bash-completion/completions)
  install(FILES packaging/completion.fish RENAME ${program}.fish
    DESTINATION share/fish/vendor_completions.d)
endforeach()
install(FILES packaging/copyright ${pages}/changelog.gz ${pages}/sbom.cdx.json DESTINATION share/doc/slogate)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME slogate)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "slogate maintainers <slogate@localhost>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# kill of procps reloads the service; libcurl is loaded, not linked.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libcurl4, passwd, procps")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/postinst ${CMAKE_SOURCE_DIR}/packaging/prerm
  ${CMAKE_SOURCE_DIR}/packaging/postrm)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"measures what each workload of a node does to its users
One agent per node measures with BPF, per cgroup and without a change to any
application, how long requests over TCP take, what waits in queues and which
connections fail. It serves metrics for Prometheus and judges canaries.")
include(CPack)
