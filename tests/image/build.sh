#!/usr/bin/env bash
# Builds the image for real, without a container engine: a Debian base made by debootstrap, then buildah in a chroot.
# Usage: build.sh TAG [buildah options…]. Everything it makes is under build/image.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/../.."

tag=$1
shift
place=$PWD/build/image
suite=trixie # the Debian release that python:3.13-slim is made from
base=localhost/base:$suite
build_base=localhost/build-base:$suite

if [ "$(id -u)" -ne 0 ]; then
  echo "build.sh: a chroot needs root; run this as root" >&2
  exit 1
fi
mkdir -p "$place"

in_store() {
  buildah --root "$place/storage" --runroot "$place/run" --storage-driver vfs "$@"
}

# make_base IMAGE PACKAGE[,PACKAGE…]
make_base() {
  local root=$place/base
  rm -rf "$root"
  mkdir -p "$place/packages"
  echo "making $1 of Debian $suite (once)"
  if ! debootstrap --variant=minbase --cache-dir="$place/packages" --include="$2" "$suite" "$root" \
      > "$place/debootstrap.log" 2>&1; then
    tail -20 "$place/debootstrap.log" >&2
    exit 1
  fi
  # What python:slim leaves out, too.
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/{doc,man,locale,info}/*
  local container
  container=$(in_store from scratch)
  in_store add --quiet "$container" "$root" / > /dev/null
  in_store config --env PATH=/usr/local/bin:/usr/bin:/bin "$container"
  in_store commit --quiet --rm "$container" "$1" > /dev/null
  rm -rf "$root"
}

has_image() {
  in_store inspect --type image "$1" > /dev/null 2>&1
}

python=python3,python3-venv,ca-certificates
has_image "$base" || make_base "$base" "$python"
has_image "$build_base" || make_base "$build_base" "$python,gcc,libc6-dev,python3-dev"

# The machine's certificate authorities are lent to the build, for registries behind a proxy; they do not stay.
in_store bud --quiet --isolation chroot --layers=false --timestamp 0 \
  --build-arg "BUILD_BASE=$build_base" --build-arg "BASE=$base" \
  --volume /etc/ssl/certs:/etc/ssl/certs:ro \
  --tag "$tag" "$@" . > /dev/null
