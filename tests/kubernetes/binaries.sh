#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds Kubernetes' servers from Debian's source package, whose vendor folder makes that possible
# without any network but Debian's. Prints the folder they are in; what is there is not built again.
# usage: binaries.sh PROGRAM...    such as: binaries.sh kube-apiserver kubelet
set -euo pipefail

version=1.20.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/slogate/kubernetes-$version
bin=$cache/bin
say() { printf '%s\n' "$*" >&2; }
missing=()
for program in "$@"; do [ -x "$bin/$program" ] || missing+=("$program"); done

if [ ${#missing[@]} -gt 0 ]; then
  mkdir -p "$bin" "$cache/lists/partial"
  exec 9>"$cache/lock"
  flock 9
  say "building ${missing[*]} of Kubernetes $version: some minutes, once"
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    golang-1.19-go make rsync jq dpkg-dev >&2
  if [ ! -d "$cache/source" ]; then
    printf 'deb-src http://deb.debian.org/debian bookworm main\n' >"$cache/sources.list"
    apt=(-o "Dir::Etc::SourceList=$cache/sources.list" -o Dir::Etc::SourceParts=/dev/null
      -o "Dir::State::Lists=$cache/lists")
    apt-get "${apt[@]}" update >&2
    (cd "$cache" && rm -rf kubernetes-1.20.* && apt-get "${apt[@]}" source kubernetes >&2)
    mv "$cache"/kubernetes-1.20.*/ "$cache/source"
  fi
  cd "$cache/source"
  mkdir -p "$cache/home" .go/src/k8s.io
  [ -L .go/src/k8s.io/kubernetes ] || ln -s ../../.. .go/src/k8s.io/kubernetes
  for program in "${missing[@]}"; do
    [ -x "$bin/$program" ] && continue
    say "building $program"
    nice -n 19 env PATH="/usr/lib/go-1.19/bin:$PATH" GOPROXY=off GOCACHE="$cache/go" CGO_ENABLED=0 \
      HOME="$cache/home" GOPATH="$PWD/.go" KUBE_GIT_VERSION="v$version" KUBE_GIT_COMMIT=0 \
      KUBE_GIT_TREE_STATE=archive KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 \
      make "WHAT=cmd/$program" >&2
    install "$(find _output -path "*/bin/linux/*/$program" -o -path "*/go/bin/$program" | sed -n 1p)" "$bin/$program"
  done
fi
printf '%s\n' "$bin"
