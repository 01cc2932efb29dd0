#!/bin/sh
# Makes sure that the base image debian:SUITE-slim is on this machine: uses the
# one that is here, else pulls it, else builds it from Debian's packages, so that
# no container registry is needed.
#
#   docker/base.sh [SUITE]     trixie (the default), bookworm, bullseye, ...
#
# Environment:
#   WAYPOST_DEBIAN_MIRROR    where packages come from (http://deb.debian.org/debian)
#   WAYPOST_DEBIAN_KEYRING   keys that sign the suite (debootstrap's own choice)
#   WAYPOST_PULL_TIMEOUT     seconds a pull may take (60); 0 never pulls
#   TMPDIR                   needs about 300 MB, not mounted noexec or nodev
set -eu
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

suite=${1:-trixie}
mirror=${WAYPOST_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=${WAYPOST_DEBIAN_KEYRING:-}
image=debian:$suite-slim

case $suite in
    *[!a-z]*) fail "\`$suite\` is not the name of a Debian suite; say trixie, bookworm or bullseye" ;;
esac

if present "$image" || pull "$image"; then
    exit 0
fi

absent="$image is neither here nor can it be pulled"
[ "$(id -u)" = 0 ] || fail "$absent, and only root can build it; run \`sudo $0 $suite\` once"
if ! have debootstrap; then
    have apt-get || fail "$absent, and debootstrap, which would build it, is missing; install debootstrap"
    say "installing debootstrap"
    { apt-get update && apt-get install --yes --no-install-recommends debootstrap debian-archive-keyring; } \
        >/dev/null 2>&1 || fail "$absent, and debootstrap, which would build it, cannot be installed with apt-get"
fi

say "$absent; building it from $mirror"
work_here
chmod 755 "$work"
root=$work/root

# Signatures are always checked: without its keys debootstrap would go on unchecked.
set -- --variant=minbase --force-check-gpg
[ -z "$keyring" ] || set -- "$@" "--keyring=$keyring"
if ! debootstrap "$@" "$suite" "$root" "$mirror" >"$work/log" 2>&1; then
    tail -n 5 "$work/log" >&2
    [ ! -f "$root/debootstrap/debootstrap.log" ] || tail -n 5 "$root/debootstrap/debootstrap.log" >&2
    fail "debootstrap could not build $suite from $mirror; the lines above say why"
fi

# What an image does not need, now and for packages installed later.
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
SLIM
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
rm -rf "$root"/usr/share/info/* "$root"/usr/share/locale/* "$root"/usr/share/man/* \
    "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
    "$root"/var/log/bootstrap.log "$root"/etc/hostname "$root"/etc/resolv.conf
# Installing a package must not start its daemon while an image is built.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

tar -C "$root" --one-file-system --numeric-owner --exclude='./dev/*' -cf "$work/root.tar" . ||
    fail "the files of $image could not be packed; is there room in $work?"
docker import --change 'CMD ["bash"]' --message "debootstrap $suite" "$work/root.tar" "$image" >/dev/null ||
    fail "docker import of $image failed"
say "built $image"
