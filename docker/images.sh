#!/bin/sh
# Makes sure that the images which tests and compose files use are on this machine.
# An image built from the same recipe before is left alone.
#
#   docker/images.sh           all of them
#   docker/images.sh NAME...   these; the names are the first column below
#
# Environment:
#   WAYPOST_IMAGE_NAME       use this image instead of building one: WAYPOST_IMAGE_ETCD
#                            for etcd, WAYPOST_IMAGE_ETCD_3_4 for etcd-3.4
#   WAYPOST_PULL_TIMEOUT     and what else base.sh reads
set -eu

# name: what it is called here; folder: where its Dockerfile is, next to this file;
# image: the tag it gets; suite: the Debian release that has this version.
table() {
    cat <<'TABLE'
etcd           etcd       waypost/etcd:3.5       trixie
etcd-3.4       etcd       waypost/etcd:3.4       bookworm
etcd-3.3       etcd       waypost/etcd:3.3       bullseye
consul         consul     waypost/consul:1.8     bullseye
dns            dns        waypost/dns:3.4        trixie
zookeeper      zookeeper  waypost/zookeeper:3.9  trixie
zookeeper-3.8  zookeeper  waypost/zookeeper:3.8  bookworm
zookeeper-3.4  zookeeper  waypost/zookeeper:3.4  bullseye
TABLE
}

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")"

label=waypost.recipe

sha256() {
    if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

# The sum of everything an image is made from: build arguments, names and contents.
recipe() { # folder argument
    {
        printf '%s\n' "$2"
        find "$1" -type f | LC_ALL=C sort | while IFS= read -r file; do
            printf '%s %s\n' "$file" "$(sha256 <"$file")"
        done
    } | sha256
}

ensure() { # name folder image suite
    variable=WAYPOST_IMAGE_$(printf '%s' "$1" | tr 'a-z.-' 'A-Z__')
    eval "chosen=\${$variable:-}"
    if [ -n "$chosen" ]; then
        present "$chosen" || pull "$chosen" ||
            fail "$variable asks for $chosen, which is neither here nor can it be pulled; correct or unset it"
        return 0
    fi

    argument=BASE=debian:$4-slim
    want=$(recipe "$2" "$argument")
    found=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$3" 2>/dev/null) || found=
    [ "$found" != "$want" ] || return 0

    ./base.sh "$4"
    say "building $3"
    docker build --force-rm --build-arg "$argument" --label "$label=$want" --tag "$3" "$2" >"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        fail "docker build of $3 from $2/Dockerfile failed; the lines above say why"
    }
    # What a first stage leaves behind when the image is made.
    docker image prune --force --filter label=waypost.stage=build >/dev/null 2>&1 || true
    say "built $3"
}

names=$(table | awk '{ printf "%s ", $1 }')
# shellcheck disable=SC2086 # one word a name
[ $# -gt 0 ] || set -- $names
for name; do
    table | awk -v name="$name" '$1 == name { found = 1 } END { exit !found }' ||
        fail "there is no image \`$name\`; there are $names"
done
work_here
for name; do
    # shellcheck disable=SC2046 # one word a column
    ensure $(table | awk -v name="$name" '$1 == name')
done
