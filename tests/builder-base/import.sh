#!/usr/bin/env bash
# Makes a builder base for services/Dockerfile from this machine's packages, where none can be
# pulled: `import.sh NAME`. README.md beside this file lists its contents.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: $0 NAME" >&2
    exit 2
fi
name=$1
cd "$(dirname "$0")/../.." # for rust-toolchain.toml and Cargo.lock

for tool in apt-cache docker dpkg-query gcc rustc; do
    if ! command -v "$tool" >/dev/null; then
        echo "$0: $tool is missing: this needs Debian or Ubuntu with gcc, libc6-dev, Rust and Docker" >&2
        exit 1
    fi
done

sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
cargo fetch --locked --quiet # the container may have no network

# As in the official image: a C compiler for build scripts and for linking, the C library including its
# static parts, and a shell with the few programs that the Dockerfile calls.
packages=$(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances gcc libc6-dev coreutils dash grep sed | grep '^[a-z]')
files=$(mktemp)
folder=$(mktemp --directory)
trap 'rm -rf "$files" "$folder"' EXIT
for package in $packages; do
    dpkg-query --listfiles "$package" 2>/dev/null || true # virtual packages have no files
done |
    grep ^/ | # other lines are about diversions
    grep --extended-regexp --invert-match '^/((s?bin|lib(64)?)$|usr/share/(doc|man|info|locale|lintian)/)' |
    while read -r file; do
        if [ ! -d "$file" ] || [ -L "$file" ]; then echo "${file#/}"; fi
    done |
    sed --regexp-extended 's#^(s?bin|lib(64)?)/#usr/\1/#' | # package lists still say /lib
    sort --unique >"$files"

mkdir --parents "$folder"/{etc,root,tmp,usr/bin}
chmod 1777 "$folder/tmp"
for link in bin lib lib64 sbin; do ln --symbolic "usr/$link" "$folder/$link"; done
ln --symbolic gcc "$folder/usr/bin/cc" # a symlink of Debian's alternatives, which belongs to no package
# Makes the base unique, so that the engine's cache of an earlier base is not used.
date +%s%N >"$folder/etc/builder-base"

tar --create --owner=0 --group=0 --numeric-owner \
    --transform="flags=r;s#^${sysroot#/}#usr/local/rust#" \
    --transform="flags=r;s#^${cargo_home#/}#cargo#" \
    --exclude="${sysroot#/}/share" --exclude="${sysroot#/}/etc" \
    --directory="$folder" . \
    --directory=/ --files-from="$files" \
    "${sysroot#/}/bin" "${sysroot#/}/lib" \
    "${cargo_home#/}/registry/cache" "${cargo_home#/}/registry/index" |
    docker import \
        --change 'ENV PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin' \
        --change 'ENV CARGO_NET_OFFLINE=true' \
        --change "LABEL builder-base=$name" \
        - "$name"
