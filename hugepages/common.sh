# shellcheck shell=sh disable=SC2034,SC2154
# What the scripts of this directory share: how they speak, what --dry-run means, and what they remember for `undo`.
# Sourced, not run. GETVPN_ROOT is a directory that stands for / in the tests; a program named in GETVPN_KERNEL then plays
# the kernel and is told of each write.
set -eu
root=${GETVPN_ROOT:-}
sys=$root/sys
proc=$root/proc
units=$root/etc/systemd/system
grub=$root/etc/default/grub.d
record=$root/var/lib/getvpn-hugepages # what was found and what was made; across reboots, for `undo`
here=$(dirname "$0") # as the scripts are called, also where a package has put them
dry_run=no
did=no  # whether `undo` found something
told=no # where `set -e` ends a script, it must not end in silence
trap 'status=$?; [ $status = 0 ] || [ $told = yes ] || echo "hugepages/$(basename "$0"): a command failed: status $status" >&2' EXIT

fail() {
    told=yes
    echo "hugepages/$(basename "$0"): $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
}

wrong() {
    told=yes
    echo "hugepages/$(basename "$0"): $*; see --help" >&2
    exit 2
}

need_root() {
    [ $dry_run = yes ] || [ -n "$root" ] || [ "$(id -u)" = 0 ] ||
        fail "this changes the machine: run it as root, or with --dry-run to see what it would do"
}

say() { echo "# $*"; }

# set_to VALUE FILE: writes to a file of the kernel's.
set_to() {
    echo "echo $1 >${2#"$root"}"
    [ $dry_run = no ] || return 0
    # The shell itself complains of a file that cannot be opened.
    { echo "$1" >"$2"; } 2>/dev/null || return 1
    [ -z "${GETVPN_KERNEL:-}" ] || "$GETVPN_KERNEL" "${2#"$root"}" "$1"
}

# Runs a command. With a prepared root it is only shown: it would work on the real one.
run() {
    echo "$*"
    [ $dry_run = no ] && [ -z "$root" ] || return 0
    "$@"
}

# keep_file FILE: makes a file of what comes on standard input, unless it is there and the same.
keep_file() {
    content=$(cat)
    if [ -e "$1" ] && [ "$content" = "$(cat "$1")" ]; then
        say "${1#"$root"} is there already"
        return 0
    fi
    changed=yes
    echo "cat >${1#"$root"} <<END"
    echo "$content"
    echo END
    [ $dry_run = no ] || return 0
    mkdir -p "$(dirname "$1")"
    printf '%s\n' "$content" >"$1.new"
    mv "$1.new" "$1"
}

# drop FILE...: removes what was made.
drop() {
    for each in "$@"; do
        if [ -e "$each" ] || [ -L "$each" ]; then
            did=yes
            echo "rm ${each#"$root"}"
            [ $dry_run = yes ] || rm "$each"
        fi
    done
}

remember() { # NAME, and what is to be remembered on standard input
    content=$(cat)
    [ $dry_run = no ] || return 0
    mkdir -p "$record"
    printf '%s\n' "$content" >"$record/$1.new"
    mv "$record/$1.new" "$record/$1"
}

forget() {
    [ $dry_run = no ] || return 0
    rm -f "$record/$1"
    rmdir "$record" 2>/dev/null || true
}

# keep_unit NAME TARGET: a systemd unit that does this again at each boot.
keep_unit() {
    changed=no
    keep_file "$units/$1.service"
    link=$units/$2.target.wants/$1.service
    if [ ! -L "$link" ]; then
        echo "ln -s ../$1.service ${link#"$root"}"
        if [ $dry_run = no ]; then
            mkdir -p "$units/$2.target.wants"
            ln -s "../$1.service" "$link"
        fi
    fi
    [ $changed = no ] || reload_systemd
}

drop_unit() {
    [ -e "$units/$1.service" ] || return 0
    drop "$units/$2.target.wants/$1.service" "$units/$1.service"
    [ $dry_run = yes ] || rmdir "$units/$2.target.wants" 2>/dev/null || true
    reload_systemd
}

reload_systemd() {
    if [ -d "$root/run/systemd/system" ]; then run systemctl daemon-reload; fi
}

need_grub() { # WORDS
    [ -e "$root/etc/default/grub" ] ||
        fail "this machine does not boot by GRUB (there is no /etc/default/grub): \
add to the kernel's command line by its own boot loader: $1"
}

# keep_words NAME WORDS: adds words to the kernel's command line, by GRUB, from the next boot.
keep_words() {
    need_grub "$2"
    changed=no
    keep_file "$grub/getvpn-$1.cfg" <<END
# Made by getvpn's hugepages/$(basename "$0"); hugepages/undo takes it away.
GRUB_CMDLINE_LINUX_DEFAULT="\$GRUB_CMDLINE_LINUX_DEFAULT $2"
END
    if [ $changed = yes ]; then run update-grub; fi
    say "in force from the next boot: $2"
}

drop_words() {
    [ -e "$grub/getvpn-$1.cfg" ] || return 0
    drop "$grub/getvpn-$1.cfg"
    run update-grub
    say "in force from the next boot"
}

# The CPUs or nodes of a list such as 0,2-4, one a line; nothing if it is no list.
expand() {
    echo "$1" | awk -F, '{
        for (i = 1; i <= NF; i++) {
            if ($i !~ /^[0-9]+(-[0-9]+)?$/) exit 1
            n = split($i, ends, "-"); last = n == 2 ? ends[2] : ends[1]
            if (last + 0 < ends[1] + 0 || last > 8191) exit 1
            for (j = ends[1] + 0; j <= last + 0; j++) print j
        }
    }'
}

# The other way: 0 2 3 4, one a line, as 0,2-4.
collapse() {
    sort -n -u | awk '
        function flush() { if (first != "") out = out (out == "" ? "" : ",") (first == last ? first : first "-" last) }
        { if (first != "" && $1 == last + 1) { last = $1; next } flush(); first = last = $1 }
        END { flush(); print out }'
}
