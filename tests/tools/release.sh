#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/release, without the builds it takes: every place names the same version; a release is of a commit,
# and of all that changed; what it makes is whole and the same each time. The package and the image themselves
# are e2e.package and e2e.image.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

"$root/tools/release" --check || fail "the tree does not agree about its version"
version=$(sed -n 's/^project(slogate VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
passed "the tree names version $version everywhere"

# A tree of its own, whose packages are made at once, and where each change is in the section of a version.
copy=$work/copy
mkdir -p "$copy/tools" "$copy/packaging"
cp -r "$root"/{CMakeLists.txt,docs,daemonset} "$copy"
awk '/^## / { inside = /\[Unreleased\]/ } !inside || /^## /' "$root/CHANGELOG.md" >"$copy/CHANGELOG.md"
cp "$root"/tools/{release,lib.sh} "$copy/tools"
cat >"$copy/tools/made" <<'END'
#!/bin/sh
cd "$(dirname "$0")/.." && mkdir -p build/package build/image
case $0 in
  */package) echo "of $1" >"build/package/slogate_$1.deb" && echo "package: 1 byte" && echo "$PWD/build/package/slogate_$1.deb" ;;
  */image) echo "of $2" | tee build/image/slogate.tar >"build/image/slogate-$2.tar" && echo sha256:0 ;;
  */sbom) echo "{}" ;;
  */cross) shift && exec "$@" ;;
esac
END
for command in package image sbom cross; do cp "$copy/tools/made" "$copy/tools/$command"; done
rm "$copy/tools/made"
chmod +x "$copy"/tools/*
echo /build/ >"$copy/.gitignore"
commit() {
  git -C "$copy" add -A
  git -C "$copy" -c user.name=test -c user.email=test@localhost commit -qm "$1"
}
git init -q "$copy"
commit first

# Each of the places is looked at.
places=0
for file in CHANGELOG.md daemonset/{chart/Chart.yaml,chart/values.yaml,base/daemonset.yaml,Dockerfile,overlays/plain/kustomization.yaml} \
  docs/install.md; do
  sed -i "s/${version//./\\.}/9.9.9/" "$copy/$file"
  expect_exit 1 "$copy/tools/release" --check
  [[ $output == *"$file has 9.9.9"* ]] || fail "of another version in $file it is said: $output"
  git -C "$copy" checkout -q "$file"
  ((places += 1))
done
passed "another version in any of $places files is found"

echo change >>"$copy/docs/install.md"
expect_exit 1 "$copy/tools/release"
[[ $output == *"docs/install.md"* ]] || fail "of a change without a commit it is said: $output"
git -C "$copy" checkout -q docs
sed -i 's/^## \[Unreleased\].*/&\n\n### Added\n- A thing./' "$copy/CHANGELOG.md"
commit unreleased
expect_exit 1 "$copy/tools/release"
[[ $output == *"in no version"*"A thing"* ]] || fail "of a change without a version it is said: $output"
git -C "$copy" reset -q --hard HEAD~
[ ! -e "$copy/build/dist" ] || fail "it made something that is no release"
passed "what no commit has, and what is in no version's section, is not released"

"$copy/tools/release" >"$work/log"
dist=$copy/build/dist
(cd "$dist" && sha256sum --check --strict --quiet SHA256SUMS) || fail "the sums are wrong"
made=$(cd "$dist" && printf '%s ' *)
[ "$made" = "CHANGELOG.md SHA256SUMS slogate-$version-amd64.cdx.json slogate-$version-arm64.cdx.json slogate-$version-image-amd64.tar slogate-$version-image-arm64.tar slogate-$version.tgz slogate_amd64.deb slogate_arm64.deb " ] ||
  fail "it made $made"
[ "$(wc -l <"$dist/SHA256SUMS")" = 8 ] || fail "not everything has a sum: $(cat "$dist/SHA256SUMS")"
tar -xzf "$dist/slogate-$version.tgz" -C "$work"
[ -z "$(find "$work/slogate" -type l)" ] || fail "the chart has links that lead out of it"
diff -r "$root/daemonset/chart" "$work/slogate" || fail "the chart is another one"
cp "$dist/SHA256SUMS" "$work"
find "$copy/daemonset" -exec touch -h {} +
"$copy/tools/release" >"$work/log"
cmp "$dist/SHA256SUMS" "$work/SHA256SUMS" || fail "it makes something else each time"
passed "what it makes has sums, and is the same each time"

# Debian's changelog, in the words of Debian's own tool.
if command -v dpkg-parsechangelog >/dev/null; then
  "$root/packaging/changelog.sh" >"$work/changelog"
  [ "$(dpkg-parsechangelog -l "$work/changelog" -S Version)" = "$version" ] || fail "Debian's changelog is of another version"
  [ "$(dpkg-parsechangelog -l "$work/changelog" 2>&1 >/dev/null)" = "" ] || fail "Debian's changelog has mistakes"
  awk 'length > 80 { exit 1 }' "$work/changelog" || fail "a line of Debian's changelog is too long"
fi
passed "Debian's changelog is made of ours"
