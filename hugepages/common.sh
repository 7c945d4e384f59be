# What the scripts of this directory share. Sourced, not run.
set -eu
pages=/sys/kernel/mm/hugepages/hugepages-2048kB
mount_point=/dev/hugepages
before=/run/getvpn-hugepages.before # what `setup` found, for `undo`

fail() {
    echo "hugepages/$(basename "$0"): $*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "run this as root"
}

[ -d "$pages" ] || fail "this kernel has no 2 MB hugepages"
