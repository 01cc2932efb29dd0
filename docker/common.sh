# What base.sh and images.sh share; read by them, not run.
# shellcheck shell=sh

# Seconds a pull may take; 0 never pulls.
pull_timeout=${WAYPOST_PULL_TIMEOUT:-60}

say() { echo "${0##*/}: $*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
present() { docker image inspect "$1" >/dev/null 2>&1; }

pull() { # image
    [ "$pull_timeout" != 0 ] || return 1
    if have timeout; then
        timeout "$pull_timeout" docker pull --quiet "$1" >/dev/null 2>&1 || return 1
    else
        docker pull --quiet "$1" >/dev/null 2>&1 || return 1
    fi
    say "pulled $1"
}

# Temporary files live in $work, made by work_here and gone with the script.
work=
work_here() { work=$(mktemp -d); }
clean() {
    [ -n "$work" ] || return 0
    # An interrupted debootstrap leaves these mounted; never delete through them.
    umount "$work/root/proc" 2>/dev/null || true
    umount "$work/root/sys" 2>/dev/null || true
    find "$work" -xdev -delete
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

case $pull_timeout in
    *[!0-9]*) fail "WAYPOST_PULL_TIMEOUT must be a number of seconds, not \`$pull_timeout\`" ;;
esac
have docker || fail "the docker command is missing; install Docker first"
docker version >/dev/null 2>&1 ||
    fail "the docker daemon cannot be reached; start it, set DOCKER_HOST, or join the group docker"

# One run of a script at a time: a second one waits, then finds the images made.
if have flock; then
    exec 9<"$0"
    flock 9
fi
