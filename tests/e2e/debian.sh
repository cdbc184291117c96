# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What other suites of Debian have, beside what is installed here. It is kept outside the tree.

debian_cache=${XDG_CACHE_HOME:-$HOME/.cache}/slogate

# apt_of SUITE...: sets $apt to an apt-get that knows these suites of Debian and leaves the system's
# own alone.
apt_of() {
  local state=$debian_cache/apt/$*
  mkdir -p "$state/lists/partial" "$state/archives/partial"
  local suite mirror
  for suite; do
    mirror=http://deb.debian.org/debian
    [[ $suite != *-security ]] || mirror+=-security
    say "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >"$state/sources.list"
  apt=(apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3
    -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State=$state" -o Dir::State::Status=/dev/null -o "Dir::Cache=$state")
  "${apt[@]}" update
}

# newer PACKAGE/SUITE: sets $newer to a directory with the files of that package alone, of the version that was
# there when it was first asked for; fails where it cannot be had. Its libraries are those of this machine.
newer() {
  newer=$debian_cache/debian/${1//\//_}
  [ ! -d "$newer" ] || return 0
  local fresh=$newer.$$ apt=()
  mkdir -p "$fresh"
  if ! { apt_of "${1#*/}" && (cd "$fresh" && "${apt[@]}" download "${1%/*}" && dpkg -x ./*.deb . && rm ./*.deb); }; then
    rm -rf "$fresh"
    return 1
  fi
  # Somebody else may have been first.
  mv -T "$fresh" "$newer" 2>/dev/null || rm -rf "$fresh"
}

# prometheus_3: sets $prometheus_3 to Debian's newest; fails where it cannot be had.
prometheus_3() {
  newer prometheus/sid 2>/dev/null && prometheus_3=$newer/usr/bin/prometheus && "$prometheus_3" --version >/dev/null 2>&1
}
