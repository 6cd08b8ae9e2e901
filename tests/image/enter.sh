#!/bin/sh
# Runs a program in an image's file system as a cluster would: as another user, the root read-only, without a shell.
# Usage: unshare --mount enter.sh ROOT FOLDER USER:GROUP PROGRAM [argument…]; FOLDER appears as /etc/sidecar.
set -eu
root=$1
folder=$2
user=$3
shift 3
mount --bind "$root" "$root"
mount --bind "$folder" "$root/etc/sidecar"
mount -t tmpfs -o mode=1777,size=16m tmpfs "$root/tmp"
mount -t proc -o ro proc "$root/proc"
mount --bind /dev/urandom "$root/dev/urandom" 2>/dev/null || true
for shell in bash dash sh; do
  if [ -f "$root/usr/bin/$shell" ]; then mount --bind /dev/null "$root/usr/bin/$shell"; fi
done
mount -o remount,bind,ro "$root/etc/sidecar"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" "$@"
