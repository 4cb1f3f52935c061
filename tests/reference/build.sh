#!/usr/bin/env bash
# Builds kube-apiserver and etcd, the reference of tests/reference, from their Go modules.
#
# usage: build.sh [DIRECTORY]     default: $KNARR_REFERENCE_BIN, else ~/.cache/knarr-reference
#
# Nothing of it enters this repository: the go.mod files are written to a directory that goes away.
set -euo pipefail

KUBERNETES=1.34.3
ETCD=3.6.5

out=${1:-${KNARR_REFERENCE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/knarr-reference}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOTOOLCHAIN=${GOTOOLCHAIN:-local} GOWORK=off
command -v go >/dev/null || { echo "build.sh: needs Go 1.24 or newer" >&2; exit 1; }

built() { # <file> <version>: whether the file is there and was made from this version
  [[ -x $out/$1 && -f $out/$1.version && $(<"$out/$1.version") == "$2" ]]
}

# k8s.io/kubernetes requires its staging modules as v0.0.0 and replaces them by directories that the module does not
# contain; outside its repository each needs a replacement by the release of the same number.
staging() {
  local mod
  mod=$(go mod download -json "k8s.io/kubernetes@v$KUBERNETES" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
  sed -n 's/^[[:space:]]*\(k8s\.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$mod"
}

build_apiserver() {
  built kube-apiserver "$KUBERNETES" && return
  mkdir "$work/kube" && cd "$work/kube"
  {
    printf 'module reference\ngo 1.24.0\ngodebug default=go1.24\nrequire k8s.io/kubernetes v%s\n' "$KUBERNETES"
    staging | while read -r module; do printf 'replace %s => %s v0.%s\n' "$module" "$module" "${KUBERNETES#1.}"; done
  } >go.mod
  local pkg=k8s.io/component-base/version
  go build -mod=mod -trimpath -buildvcs=false -o "$out/kube-apiserver" \
    -ldflags "-s -w -X $pkg.gitVersion=v$KUBERNETES -X $pkg.gitMajor=1 -X $pkg.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES")" \
    k8s.io/kubernetes/cmd/kube-apiserver
  echo "$KUBERNETES" >"$out/kube-apiserver.version"
}

build_etcd() {
  built etcd "$ETCD" && return
  mkdir "$work/etcd" && cd "$work/etcd"
  printf 'module reference\ngo 1.24.0\nrequire go.etcd.io/etcd/server/v3 v%s\n' "$ETCD" >go.mod
  go build -mod=mod -trimpath -buildvcs=false -ldflags '-s -w' -o "$out/etcd" go.etcd.io/etcd/server/v3
  echo "$ETCD" >"$out/etcd.version"
}

build_etcd
build_apiserver
echo "$out"
