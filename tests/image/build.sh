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

if [ "$(id -u)" -ne 0 ]; then
  echo "build.sh: a chroot needs root; run this as root" >&2
  exit 1
fi
mkdir -p "$place"

in_store() {
  buildah --root "$place/storage" --runroot "$place/run" --storage-driver vfs "$@"
}

make_base() {
  local root=$place/base
  rm -rf "$root"
  echo "making a base of Debian $suite (once)"
  if ! debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" \
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
  in_store commit --quiet --rm "$container" "$base" > /dev/null
  rm -rf "$root"
}

in_store inspect --type image "$base" > /dev/null 2>&1 || make_base

# The machine's certificate authorities are lent to the build, for registries behind a proxy; they do not stay.
in_store bud --quiet --isolation chroot --layers=false --timestamp 0 \
  --build-arg "BUILD_BASE=$base" --volume /etc/ssl/certs:/etc/ssl/certs:ro \
  --tag "$tag" "$@" . > /dev/null
