# shellcheck shell=sh disable=SC2154,SC2086
# What bind, check and undo know of ports: who drives one, what the kernel uses it for, and how it changes hands.
# Sourced after common.sh, not run.
bus=$sys/bus/pci

driver_of() { if [ -e "$bus/devices/$1/driver" ]; then basename "$(readlink "$bus/devices/$1/driver")"; else echo none; fi; }

# A port as people write it, with the domain.
address_of() {
    case $1 in
        ????:??:??.?) echo "$1" ;;
        ??:??.?) echo "0000:$1" ;;
        *) return 1 ;;
    esac
}

# The interfaces of a port, and the bonds, bridges and VLANs on top of them. A virtio port has its interface a level deeper.
interfaces_of() {
    for dir in "$bus/devices/$1"/net/* "$bus/devices/$1"/virtio*/net/*; do
        [ -d "$dir" ] || continue
        with_uppers "$(basename "$dir")"
    done
}

with_uppers() {
    echo "$1"
    for upper in "$sys/class/net/$1"/upper_*; do
        # In a subshell: a shell function has no variables of its own.
        if [ -e "$upper" ] || [ -L "$upper" ]; then (with_uppers "${upper##*/upper_}"); fi
    done
}

# Why a port must stay with the kernel; nothing if it need not.
used_for() {
    for interface in $(interfaces_of "$1"); do
        if awk -v i="$interface" '$1 == i && $2 == "00000000" && $8 == "00000000" { found = 1 } END { exit !found }' "$proc/net/route" ||
            awk -v i="$interface" '$10 == i && $2 == "00" && $1 ~ /^0+$/ && $5 !~ /^0+$/ { found = 1 } END { exit !found }' "$proc/net/ipv6_route" 2>/dev/null; then
            echo "it carries the default route ($interface): this machine would lose its network"
        elif [ -n "$(ssh_interface)" ] && [ "$(ssh_interface)" = "$interface" ]; then
            echo "it carries this ssh session ($interface)"
        elif awk -v i="$interface" '$1 == i { found = 1 } END { exit !found }' "$proc/net/route"; then
            echo "the kernel has routes through it ($interface)"
        fi
    done
}

# The interface that has the address which ssh came to.
ssh_interface() {
    [ -n "${SSH_CONNECTION:-}" ] || return 0
    local_address=$(echo "$SSH_CONNECTION" | cut -d' ' -f3)
    ip -o address show 2>/dev/null | awk -v a="$local_address" '{ split($4, parts, "/"); if (parts[1] == a) { print $2; exit } }'
}

# The processes that hold a port by vfio.
holders_of() {
    group=$(basename "$(readlink "$bus/devices/$1/iommu_group" 2>/dev/null)" 2>/dev/null) || return 0
    [ -n "$group" ] || return 0
    for fd in "$proc"/[0-9]*/fd/*; do
        case $(readlink "$fd" 2>/dev/null) in
            /dev/vfio/"$group" | /dev/vfio/noiommu-"$group") fd=${fd#"$proc"/}; echo "${fd%%/*}" ;;
        esac
    done | sort -u | paste -s -d " "
}

# hand_over ADDRESS DRIVER: from whoever drives it to this driver.
hand_over() {
    now=$(driver_of "$1")
    set_to "$2" "$bus/devices/$1/driver_override" || return 1
    if [ "$now" != none ]; then set_to "$1" "$bus/devices/$1/driver/unbind" || return 1; fi
    set_to "$1" "$bus/drivers_probe" || return 1
    [ $dry_run = yes ] || [ "$(driver_of "$1")" = "$2" ]
}

# give_back ADDRESS DRIVER: to the driver that it had, and out of what is remembered.
give_back() {
    if [ -d "$bus/devices/$1" ]; then
        holders=$(holders_of "$1")
        [ -z "$holders" ] || fail "$1 is in use by process $holders: stop the member first"
        if [ "$(driver_of "$1")" = vfio-pci ]; then
            say "$1 goes back to ${2#none}"
            if [ "$2" = none ]; then
                set_to "$1" "$bus/devices/$1/driver/unbind" || fail "$1 cannot be taken from vfio-pci"
            else
                run modprobe "$2" || true
                hand_over "$1" "$2" || fail "$1 does not go back to $2: see dmesg"
            fi
        fi
        # An empty line lets every driver have it again.
        set_to "" "$bus/devices/$1/driver_override" || true
    fi
    left=$(grep -v "^$1 " "$record/ports") || true
    if [ -n "$left" ]; then echo "$left" | remember ports; else forget ports; fi
    keep_ports_bound "$(echo "$left" | cut -d' ' -f1)"
}

# keep_ports_bound ADDRESSES: the unit that binds them at each boot. Without ports there is none, and no unsafe mode that
# only they wanted.
keep_ports_bound() {
    if [ -z "$1" ]; then
        drop_unit getvpn-ports multi-user
        if [ -e "$root/etc/modprobe.d/getvpn-vfio.conf" ]; then
            drop "$root/etc/modprobe.d/getvpn-vfio.conf"
            set_to N "$sys/module/vfio/parameters/enable_unsafe_noiommu_mode" || true
        fi
        return 0
    fi
    lines=
    for address in $1; do
        lines="$lines
ExecStart=-/bin/sh -c 'cd /sys/bus/pci/devices/$address && echo vfio-pci >driver_override && { [ ! -e driver ] || [ \"\$\$(basename \$\$(readlink driver))\" = vfio-pci ] || echo $address >driver/unbind; } && echo $address >/sys/bus/pci/drivers_probe'"
    done
    keep_unit getvpn-ports multi-user <<END
# Made by getvpn's hugepages/bind; hugepages/undo takes it away.
[Unit]
Description=Ports for getvpn
# Early, so that nothing which configures the network has found them yet.
DefaultDependencies=no
Wants=network-pre.target
After=systemd-remount-fs.service systemd-modules-load.service systemd-udev-trigger.service
Before=network-pre.target shutdown.target getvpn-gm.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/bin/sh -c 'modprobe vfio-pci'$lines

[Install]
WantedBy=multi-user.target
END
}
