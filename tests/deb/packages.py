"""Tries the Debian packages as whoever runs a machine would: installs, configures, starts, upgrades, removes and purges them
on a Debian 12 of its own, which is booted in a container with systemd. `make deb-test`; as root, with a Debian mirror.

    packages.py DIRECTORY-WITH-PACKAGES
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

INCLUDE = "systemd,systemd-sysv,dbus,iproute2,procps"
PSK = "between the key server and its member"
GM = """
[eal]
args = [{eal}, "--vdev=net_null0", "--vdev=net_null1"]
[workers]
cores = [{core}]
idle = "sleep"
[[link]]
name = "site"
lan = "net_null0"
wan = "net_null1"
mtu = 1500
{exception}
[control]
socket = "/run/getvpn/gm.sock"
state = "/var/lib/getvpn/gm"
listen = "127.0.0.2:848"
[[group]]
name = "finance"
id = 1234
key_servers = ["127.0.0.1:848"]
key_server_ids = ["ks1.example.net"]
local_id = "127.0.0.2"
psk_file = "gm.psk"
"""
NO_HUGE = '"--no-huge", "-m", "512", "--no-pci"'


class Machine:
    """A booted container, with a network of its own."""

    def __init__(self, root, packages):
        self.root = root
        container = ["systemd-nspawn", "--quiet", "--directory", root, "--register=no", "--keep-unit", "--machine=getvpn-deb",
                     f"--bind-ro={packages}:/packages", "--console=pipe"]
        # What they depend on is fetched while there is a network: nothing else is to be reached later.
        fetch = "apt-get -qq update && apt-get -qq -y --no-install-recommends --download-only install /packages/*.deb"
        subprocess.run([*container, "--resolv-conf=copy-host", "sh", "-c", fetch], stdin=subprocess.DEVNULL, check=True,
                       stdout=subprocess.DEVNULL, timeout=600)
        self.boot = subprocess.Popen(
            # Not by --private-network: /sys would lack what DPDK looks for.
            ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@" --capability=CAP_NET_ADMIN', "sh", *container, "--boot"],
            stdin=subprocess.DEVNULL, stdout=(root.parent / "boot.log").open("wb"), stderr=subprocess.STDOUT)
        self.leader = None

    def wait_until_booted(self):
        def booted():
            assert self.boot.poll() is None, (self.root.parent / "boot.log").read_text(errors="replace")
            children = pathlib.Path(f"/proc/{self.boot.pid}/task/{self.boot.pid}/children").read_text().split()
            for child in children:
                with contextlib.suppress(OSError):
                    if pathlib.Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                        self.leader = child
            return self.leader and self.run("systemctl is-system-running", status=None) in ("running", "degraded")
        wait_for(booted, "the container's systemd", 120)

    def run(self, command, status=0):
        """The output of a shell command in the container; it must end with this status, or with any if that is None."""
        enter = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
                 "--wd"]
        env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"]
        done = subprocess.run([*enter, *env, "sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=600)
        if status is not None and done.returncode != status:
            raise SystemExit(f"{command}: exit status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
                             + self.run("journalctl --no-pager -n 60 -u getvpn-gm -u getvpn-ks", None))
        return (done.stdout + (done.stderr if status is not None else "")).strip()

    def write(self, path, text):
        at = self.root / path.lstrip("/")
        at.write_text(text)

    def show(self, unit, name):
        return self.run(f"systemctl show --value -p {name} {unit}")

    def end(self):
        if self.boot.poll() is None:
            self.boot.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.boot.wait(timeout=30)
        if self.boot.poll() is None:
            self.boot.kill()
            self.boot.wait()


def wait_for(condition, what, seconds):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.2)
    return result


def expect(true, what, seen=""):
    print(f"{'ok' if true else 'WRONG'}  {what}{f': {seen}' if seen else ''}", flush=True)
    if not true:
        raise SystemExit(1)


def files(machine):
    """What the packages may leave nothing of."""
    return machine.run("find / -xdev \\( -name '*getvpn*' -o -user getvpn \\) -not -path '/proc/*' -not -path '/packages/*' "
                       "-not -path '/var/log/*' 2>/dev/null || find / -xdev -name '*getvpn*' -not -path '/packages/*'", None)


def newer(packages, to):
    """The same packages with a higher version."""
    to.mkdir(exist_ok=True)
    for package in packages.glob("*.deb"):
        tree = to / package.stem
        subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
        control = tree / "DEBIAN/control"
        version = next(line.split()[1] for line in control.read_text().splitlines() if line.startswith("Version: "))
        control.write_text(control.read_text().replace(version, f"{version}.1"))
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, to], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(tree)


def configure(machine, eal, exception="", lan="net_null0"):
    core = int(machine.run("nproc --all")) - 1
    config = GM.format(eal=eal, core=core, exception=exception).replace('lan = "net_null0"', f'lan = "{lan}"')
    machine.write("/root/gm.toml", config)
    machine.run("cat /root/gm.toml >/etc/getvpn/gm.toml && rm /root/gm.toml")


def try_drop_ins(machine, eal):
    """What the unit does not allow by itself."""
    def with_drop_in(name):
        directory = "/run/systemd/system/getvpn-gm.service.d"
        machine.run(f"rm -rf {directory} && mkdir -p {directory} && "
                    f"cp /usr/share/doc/getvpn-gm/examples/{name} {directory} && systemctl daemon-reload")

    configure(machine, f'{eal}, "--vdev=net_tap0,iface=getvpn0"', 'exception = "net_tap0"')
    with_drop_in("tap.conf")
    machine.run("systemctl restart getvpn-gm")
    expect("getvpn0" in machine.run("ip -o link"), "with the drop-in tap.conf it has an exception port")
    machine.run("ip link add lan0 type veth peer name host0 && ip link set lan0 up && ip link set host0 up")
    configure(machine, f'{eal}, "--vdev=net_af_packet0,iface=lan0"', lan="net_af_packet0")
    with_drop_in("af-packet.conf")
    machine.run("systemctl restart getvpn-gm")
    state = machine.run("systemctl is-active getvpn-gm", None)
    expect(state == "active", "with the drop-in af-packet.conf it has a port of the kernel's")
    machine.run("rm -r /run/systemd/system/getvpn-gm.service.d && systemctl daemon-reload")


def try_packages(machine, *, hugepages):
    print(machine.run("systemctl --version | head -n 1; cat /etc/debian_version"))
    before = files(machine)
    installed = machine.run("apt-get -qq -y --no-install-recommends install /packages/*.deb")
    expect("getvpn-gm is not started before it is configured" in installed, "installing says what comes next")
    for unit in ("getvpn-gm", "getvpn-ks"):
        state = machine.run(f"systemctl is-active {unit}; systemctl is-enabled {unit}", None).split()
        expect(state == ["inactive", "disabled"], f"{unit} is installed and neither enabled nor started", " ".join(state))
    modes = machine.run("stat -c '%a %U:%G %n' /etc/getvpn /etc/getvpn/gm.toml /etc/getvpn/ks.toml").splitlines()
    expect(modes == ["750 root:getvpn /etc/getvpn", "600 getvpn:getvpn /etc/getvpn/gm.toml",
                     "600 getvpn:getvpn /etc/getvpn/ks.toml"], "configuration is for the daemons' user alone", "; ".join(modes))
    for name in ("gm", "ks"):
        said = machine.run(f"runuser -u getvpn -- getvpn-{name} --config /etc/getvpn/{name}.toml --check", 2)
        expect("psk_file: there is no file" in said, f"getvpn-{name} --check asks for the key that is not there yet")

    machine.run(f"printf '{PSK}' >/tmp/psk && "
                "for each in gm gm1; do install -o getvpn -m 600 /tmp/psk /etc/getvpn/$each.psk; done && "
                "sed -i 's/192.0.2.1:848/127.0.0.1:848/; s/192.0.2.7/127.0.0.2/' /etc/getvpn/ks.toml")
    eal = '"--no-pci"' if hugepages else NO_HUGE
    configure(machine, eal)
    for name in ("gm", "ks"):
        said = machine.run(f"runuser -u getvpn -- getvpn-{name} --config /etc/getvpn/{name}.toml --check")
        expect(said.endswith("OK"), f"getvpn-{name} --check", said)

    machine.run("systemctl enable --now getvpn-ks getvpn-gm")
    for unit in ("getvpn-gm", "getvpn-ks"):
        state = machine.run(f"systemctl is-active {unit}", None)
        expect(state == "active", f"{unit} is started, and has said that it is ready", machine.show(unit, "StatusText"))
        pid = machine.show(unit, "MainPID")
        status = dict(line.split(":", 1) for line in machine.run(f"cat /proc/{pid}/status").splitlines())
        facts = {name: status[name].split()[0] for name in ("Uid", "NoNewPrivs", "Seccomp", "CapBnd", "CapEff")}
        expect(facts["Uid"] != "0" and facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2"
               and facts["CapBnd"] == facts["CapEff"] == "0000000000000400", f"{unit} can do little", str(facts))
        score = machine.run(f"systemd-analyze security --no-pager {unit} | tail -n 1", None)
        expect(" OK " in score, f"systemd-analyze security {unit}", score.encode("ascii", "ignore").decode().strip())

    def group():
        reply = json.loads(machine.run("getvpnctl --socket /run/getvpn/gm.sock --json status"))
        return reply["groups"][0]
    seen = wait_for(lambda: (found := group())["sas"] and found, "a registration", 30)
    expect(True, "the member has registered with the key server", f"{seen['state']}, {seen['sas']} SAs")
    status = wait_for(lambda: (text := machine.show("getvpn-gm", "StatusText")) and seen["state"] in text and text,
                      "STATUS", 10)
    expect(True, "systemctl status says so", status)
    machine.run("systemctl reload getvpn-ks")
    expect(machine.run("systemctl is-active getvpn-ks") == "active", "the key server reads its configuration again")
    wait_for(lambda: "has been read again" in machine.run("journalctl --no-pager -u getvpn-ks"), "reloaded", 10)

    pid = machine.show("getvpn-gm", "MainPID")
    began = time.monotonic()
    machine.run(f"kill -STOP {pid}")
    wait_for(lambda: machine.show("getvpn-gm", "MainPID") not in (pid, "0")
             and machine.run("systemctl is-active getvpn-gm", None) == "active", "a restart by the watchdog", 90)
    expect(True, "a member that hangs is ended by the watchdog and started again", f"{time.monotonic() - began:.0f} s")
    wait_for(lambda: group()["sas"], "a registration", 30)

    try_drop_ins(machine, eal)
    configure(machine, eal)
    machine.run("systemctl restart getvpn-gm")

    edited = machine.run("sha256sum /etc/getvpn/gm.toml /etc/getvpn/ks.toml")
    pids = [machine.show(unit, "MainPID") for unit in ("getvpn-gm", "getvpn-ks")]
    machine.run("apt-get -qq -y install /packages/newer/*.deb")
    now = [machine.show(unit, "MainPID") for unit in ("getvpn-gm", "getvpn-ks")]
    versions = machine.run("dpkg-query -W -f '${Version} ' getvpn-gm getvpn-ks getvpn-ctl").split()
    expect(all(version.endswith(".1") for version in versions), "upgraded", " ".join(versions))
    expect("0" not in now and not set(pids) & set(now), "what ran was restarted by the upgrade", f"{pids} -> {now}")
    expect(machine.run("sha256sum /etc/getvpn/gm.toml /etc/getvpn/ks.toml") == edited, "its configuration stayed as it was")
    wait_for(lambda: group()["sas"], "a registration", 30)

    # What can be set up in a container: the kernel's command line.
    machine.run("touch /etc/default/grub && printf '#!/bin/sh\\n' >/usr/sbin/update-grub && chmod 755 /usr/sbin/update-grub && "
                "/usr/share/getvpn/hugepages/setup --by-grub 512 && test -e /etc/default/grub.d/getvpn-pages-2M.cfg")
    machine.run("apt-get -qq -y remove getvpn-gm getvpn-ks getvpn-ctl")
    left = machine.run("systemctl is-active getvpn-gm getvpn-ks; pgrep -l getvpn; ls /usr/sbin/getvpn* /usr/bin/getvpn*", None)
    expect(left.split() == ["inactive", "inactive"], "removed: stopped, and the programs are gone")
    machine.run("test ! -e /etc/default/grub.d/getvpn-pages-2M.cfg")
    expect(True, "with it went what its scripts had set up")
    machine.run("test -e /etc/getvpn/gm.toml && test -d /var/lib/getvpn/ks")
    expect(True, "configuration and state are kept until they are purged")
    machine.run("rm /etc/getvpn/*.psk")
    machine.run("apt-get -qq -y purge getvpn-gm getvpn-ks getvpn-ctl")
    after = files(machine)
    expect(after == before and machine.run("getent passwd getvpn; test -e /etc/getvpn && echo etc", None) == "",
           "purged: no file, no user, no directory is left", after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", type=pathlib.Path)
    parser.add_argument("--hugepages", action="store_true", help="the member takes hugepages: 512 MB must be free")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("this boots a container: run it as root")
    packages = arguments.packages.resolve()
    base, root = packages.parent / "deb-test-base.tar", packages / "root"
    if not base.exists():
        subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", f"--include={INCLUDE}", "bookworm", base], check=True)
    newer(packages, packages / "newer")
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", base, "--directory", root, "--numeric-owner"], check=True)
    machine = Machine(root, packages)
    try:
        machine.wait_until_booted()
        try_packages(machine, hugepages=arguments.hugepages)
    finally:
        machine.end()
        shutil.rmtree(root, ignore_errors=True)
    print("the packages install, start, upgrade and remove cleanly")


if __name__ == "__main__":
    sys.exit(main())
