"""hugepages/: its scripts on a prepared root, where a program plays the kernel, and `setup` and `undo` on this machine."""

import os
import pathlib
import shutil
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "hugepages"
KERNEL = pathlib.Path(__file__).with_name("fake_kernel.py")
NIC, SECOND, MANAGEMENT, MELLANOX, DISK = (f"0000:01:00.{n}" for n in range(5))


class Machine:
    """A prepared root: two nodes of 4 GB, 8 cores, five PCI devices, GRUB."""

    def __init__(self, root):
        self.root = root
        for node in (0, 1):
            for kb in (2048, 1048576):
                pages = f"sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB"
                for name in ("nr_hugepages", "free_hugepages", "before"):
                    self.write(f"{pages}/{name}", "0")
            self.write(f"sys/devices/system/node/node{node}/meminfo", f"Node {node} MemFree:  4194304 kB")
        self.write("sys/devices/system/cpu/online", "0-7")
        self.write("sys/devices/system/cpu/isolated", "")
        for core in range(8):
            self.write(f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list", f"{core % 4},{core % 4 + 4}")
        self.write("proc/cpuinfo", "flags : aes avx2 pdpe1gb")
        self.write("proc/cmdline", "quiet")
        self.write("proc/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0")
        self.write("proc/sys/vm/compact_memory", "")
        self.write("proc/irq/default_smp_affinity", "ff")
        self.write("proc/irq/24/smp_affinity_list", "0-7")
        self.write("proc/irq/25/smp_affinity_list", "3")
        self.write("etc/default/grub", "")
        self.write("sys/bus/pci/drivers_probe", "")
        self.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N")
        for driver in ("ixgbe", "igb", "mlx5_core", "nvme", "vfio-pci"):
            self.write(f"sys/bus/pci/drivers/{driver}/unbind", "")
        for address, driver, interface in ((NIC, "ixgbe", "enp1s0f0"), (SECOND, "ixgbe", "enp1s0f1"),
                                           (MANAGEMENT, "igb", "eno1"), (MELLANOX, "mlx5_core", "enp3s0"),
                                           (DISK, "nvme", None)):
            self.device(address, driver, interface)
        header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
        self.write("proc/net/route", f"{header}\nbond0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0")
        (self.path("sys/class/net/eno1")).mkdir(parents=True)
        self.path("sys/class/net/eno1/upper_bond0").symlink_to("../bond0")

    def device(self, address, driver, interface):
        at = f"sys/bus/pci/devices/{address}"
        self.write(f"{at}/class", "0x020000" if interface else "0x010802")
        self.write(f"{at}/numa_node", "1")
        self.write(f"{at}/driver_override", "")
        if interface:
            self.path(f"{at}/net/{interface}").mkdir(parents=True)
        self.path(f"{at}/driver").symlink_to(f"../../drivers/{driver}")
        group = f"sys/kernel/iommu_groups/{address[-1]}"
        self.path(f"{group}/devices/{address}").mkdir(parents=True)
        self.path(f"{at}/iommu_group").symlink_to(self.path(group))

    def path(self, name):
        return self.root / name

    def write(self, name, text):
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text + "\n")

    def read(self, name):
        return self.path(name).read_text().strip()

    def pages(self, node, kb=2048):
        return int(self.read(f"sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB/nr_hugepages"))

    def driver(self, address):
        return self.path(f"sys/bus/pci/devices/{address}/driver").readlink().name

    def state(self):
        """Every file with its content: what must be the same again after `undo`, and after --dry-run."""
        found = {}
        for each in sorted(self.root.rglob("*")):
            if each.is_symlink():
                found[each] = each.readlink()
            elif each.is_file() and each.name not in ("unbind", "drivers_probe", "compact_memory"):
                found[each] = each.read_text().strip()
        return found

    def run(self, script, *arguments, status=0, **environment):
        env = {"PATH": os.environ["PATH"], "GETVPN_ROOT": self.root, "GETVPN_KERNEL": KERNEL, **environment}
        done = subprocess.run([SCRIPTS / script, *arguments], env=env, capture_output=True, text=True, timeout=30)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "root")


def test_pages_are_reserved_on_the_nodes_that_are_named_and_at_each_boot(machine):
    before = machine.state()
    machine.run("setup", "--node", "1", "512")
    assert (machine.pages(0), machine.pages(1)) == (0, 256)
    unit = machine.read("etc/systemd/system/getvpn-hugepages-2M.service")
    assert "node1/hugepages/hugepages-2048kB/nr_hugepages" in unit and "-ge 256" in unit
    assert machine.path("etc/systemd/system/sysinit.target.wants/getvpn-hugepages-2M.service").exists()
    machine.run("setup", "--size", "1G", "2048")
    assert (machine.pages(0, 1048576), machine.pages(1, 1048576)) == (2, 2)
    machine.run("undo", "pages")
    assert machine.state() == before


def test_doing_it_again_adds_nothing_and_what_others_reserved_stays(machine):
    pages = "sys/devices/system/node/node0/hugepages/hugepages-2048kB"
    for name, value in (("nr_hugepages", 100), ("before", 100), ("free_hugepages", 10)):
        machine.write(f"{pages}/{name}", str(value))
    before = machine.state()
    machine.run("setup", "--node", "0", "64")
    assert machine.pages(0) == 90 + 32
    # The member runs now, and has taken them.
    machine.write(f"{pages}/free_hugepages", "0")
    once = machine.state()
    said = machine.run("setup", "--node", "0", "64")
    assert machine.state() == once and "is there already" in said
    machine.write(f"{pages}/free_hugepages", "32")
    machine.run("undo")
    assert machine.pages(0) == 100 and machine.state() == before
    assert "nothing to undo" in machine.run("undo")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(machine):
    before = machine.state()
    said = machine.run("setup", "--dry-run", "1024")
    assert "echo 512 >/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages" in said
    assert "cat >/etc/systemd/system/getvpn-hugepages-2M.service <<END" in said
    said = machine.run("bind", "--dry-run", NIC)
    assert f"echo vfio-pci >/sys/bus/pci/devices/{NIC}/driver_override" in said and "getvpn-ports.service" in said
    said = machine.run("isolate", "--dry-run", "2-3,6-7")
    assert "echo 0-1,4-5 >/proc/irq/24/smp_affinity_list" in said and "update-grub" in said
    assert machine.state() == before
    machine.run("bind", NIC)
    machine.run("setup", "512")
    before = machine.state()
    said = machine.run("undo", "--dry-run")
    assert f"echo ixgbe >/sys/bus/pci/devices/{NIC}/driver_override" in said and "getvpn-hugepages-2M.service" in said
    assert machine.state() == before


@pytest.mark.parametrize(("arguments", "status", "said"), [
    (["--node", "2"], 1, "there is no NUMA node 2 with memory: this machine has 0-1"),
    (["8192"], 1, "node 0 has 4096 MB of memory free, too little for 8192 MB"),
    (["--size", "4K"], 2, "pages are 2M or 1G, not 4K"),
    (["much"], 2, "not a number of megabytes: much"),
    (["0"], 2, "not a number of megabytes: 0"),
    (["--node", "0-x"], 2, "not a list of nodes: 0-x"),
    (["--pages"], 2, "no such option: --pages"),
])
def test_setup_refuses_what_cannot_be(machine, arguments, status, said):
    before = machine.state()
    assert said in machine.run("setup", *arguments, status=status)
    assert machine.state() == before


def test_memory_in_pieces_is_told_and_what_could_be_had_can_be_given_back(machine):
    before = machine.state()
    machine.write("sys/devices/system/node/node0/hugepages/hugepages-1048576kB/can", "1")
    said = machine.run("setup", "--size", "1G", "--node", "0", "2048", status=1)
    assert "only 1 of 2 pages of 1G could be had, because free memory is in pieces: use --by-grub" in said
    machine.path("sys/devices/system/node/node0/hugepages/hugepages-1048576kB/can").unlink()
    machine.run("undo")
    assert machine.state() == before


def test_pages_at_boot_by_grub(machine):
    before = machine.state()
    machine.run("setup", "--by-grub", "--size", "1G", "4096")
    assert 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT hugepagesz=1G hugepages=0:4,1:4"' in machine.read(
        "etc/default/grub.d/getvpn-pages-1G.cfg")
    machine.run("undo")
    assert machine.state() == before
    machine.path("etc/default/grub").unlink()
    assert "does not boot by GRUB" in machine.run("setup", "--by-grub", status=1)


def test_ports_go_to_vfio_and_back_to_the_drivers_that_they_had(machine):
    before = machine.state()
    machine.run("bind", NIC, SECOND.removeprefix("0000:"))
    assert machine.driver(NIC) == machine.driver(SECOND) == "vfio-pci"
    assert f"/{NIC} " in machine.read("etc/systemd/system/getvpn-ports.service")
    once = machine.state()
    assert "with vfio-pci already" in machine.run("bind", NIC, SECOND)
    assert machine.state() == once
    machine.run("undo", NIC)
    assert (machine.driver(NIC), machine.driver(SECOND)) == ("ixgbe", "vfio-pci")
    unit = machine.read("etc/systemd/system/getvpn-ports.service")
    assert NIC not in unit and SECOND in unit
    assert "was not taken" in machine.run("undo", NIC, status=1)
    machine.run("undo", "ports")
    assert machine.state() == before


def test_systemd_understands_what_is_done_at_boot(machine):
    machine.run("setup", "512")
    machine.run("setup", "--size", "1G", "1024")
    machine.run("bind", NIC, SECOND)
    units = sorted(machine.path("etc/systemd/system").glob("*.service"))
    names = ["getvpn-hugepages-1G.service", "getvpn-hugepages-2M.service", "getvpn-ports.service"]
    assert [unit.name for unit in units] == names
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "getvpn" not in done.stderr, done.stderr


def test_a_port_in_use_is_refused_unless_forced(machine):
    before = machine.state()
    said = machine.run("bind", NIC, MANAGEMENT, status=1)
    assert f"{MANAGEMENT} is in use: it carries the default route (bond0)" in said
    assert machine.state() == before
    machine.run("bind", "--force", MANAGEMENT)
    assert machine.driver(MANAGEMENT) == "vfio-pci"
    with machine.path("proc/net/route").open("a") as routes:
        routes.write("enp1s0f0\t0000010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
    assert "the kernel has routes through it (enp1s0f0)" in machine.run("bind", NIC, status=1)


def test_the_port_of_the_ssh_session_is_refused(machine, tmp_path):
    ip = tmp_path / "bin/ip"
    ip.parent.mkdir()
    ip.write_text("#!/bin/sh\necho '3: enp1s0f1    inet 192.0.2.9/24 brd 192.0.2.255 scope global enp1s0f1'\n")
    ip.chmod(0o755)
    said = machine.run("bind", SECOND, status=1, PATH=f"{ip.parent}:{os.environ['PATH']}",
                       SSH_CONNECTION="198.51.100.7 50000 192.0.2.9 22")
    assert "it carries this ssh session (enp1s0f1)" in said


@pytest.mark.parametrize(("address", "status", "said"), [
    ("0000:09:00.0", 1, "there is no PCI device 0000:09:00.0"),
    (DISK, 1, "is no network port (class 0x010802)"),
    (MELLANOX, 1, "stays with mlx5_core"),
    ("eth0", 2, "not a PCI address such as 0000:01:00.0: eth0"),
])
def test_bind_refuses_what_it_cannot_give(machine, address, status, said):
    before = machine.state()
    assert said in machine.run("bind", address, status=status)
    assert machine.state() == before


def test_without_an_iommu_only_when_asked_for(machine):
    machine.path(f"sys/bus/pci/devices/{NIC}/iommu_group").unlink()
    before = machine.state()
    assert f"there is no IOMMU for {NIC}: switch on VT-d" in machine.run("bind", NIC, status=1)
    assert machine.state() == before
    machine.run("bind", "--noiommu", NIC)
    assert machine.driver(NIC) == "vfio-pci"
    assert machine.read("sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y"
    assert "enable_unsafe_noiommu_mode=1" in machine.read("etc/modprobe.d/getvpn-vfio.conf")
    machine.run("undo")
    assert machine.state() == before


def test_a_port_that_shares_its_iommu_group_takes_the_other_with_it(machine):
    group = machine.path(f"sys/bus/pci/devices/{NIC}/iommu_group/devices")
    (group / SECOND).mkdir()
    said = machine.run("bind", NIC, status=1)
    assert f"{NIC} shares an IOMMU group with {SECOND} (ixgbe)" in said
    machine.run("bind", NIC, SECOND)
    assert machine.driver(SECOND) == "vfio-pci"


def test_a_port_that_does_not_change_hands_goes_back(machine):
    before = machine.state()
    machine.write(f"sys/bus/pci/devices/{NIC}/stubborn", "")
    said = machine.run("bind", NIC, status=1)
    assert f"{NIC} does not go to vfio-pci: see dmesg" in said
    assert not machine.path("var/lib/getvpn-hugepages/ports").exists()
    assert before.keys() - machine.state().keys() == {machine.path(f"sys/bus/pci/devices/{NIC}/driver")}


def test_a_port_that_a_member_has_is_not_taken_from_it(machine):
    machine.run("bind", NIC)
    machine.path("proc/4711/fd").mkdir(parents=True)
    machine.path("proc/4711/fd/17").symlink_to("/dev/vfio/0")
    assert f"{NIC} is in use by process 4711: stop the member first" in machine.run("undo", "ports", status=1)
    assert machine.driver(NIC) == "vfio-pci"


def test_cores_are_kept_free_of_the_kernel(machine):
    before = machine.state()
    said = machine.run("isolate", "2-3,6")
    assert "core 3 is half of a physical core: the other half, 7, is left to other programs" in said
    assert ("isolcpus=managed_irq,domain,2-3,6 nohz_full=2-3,6 rcu_nocbs=2-3,6 irqaffinity=0-1,4-5,7"
            in machine.read("etc/default/grub.d/getvpn-cores.cfg"))
    assert machine.read("proc/irq/default_smp_affinity") == "000000b3"
    assert machine.read("proc/irq/25/smp_affinity_list") == "0-1,4-5,7"
    machine.run("isolate", "2-3")
    machine.run("undo", "cores")
    assert machine.state() == before


@pytest.mark.parametrize(("cores", "status", "said"), [
    ("0-1", 1, "core 0 stays the kernel's"),
    ("6-8", 1, "there is no core 8: this machine has 0-7"),
    ("3-1", 2, "not a list of cores"),
    ("two", 2, "not a list of cores"),
])
def test_isolate_refuses_what_cannot_be(machine, cores, status, said):
    before = machine.state()
    assert said in machine.run("isolate", cores, status=status)
    assert machine.state() == before


def test_check_says_what_is_missing_and_what_to_do(machine):
    said = machine.run("check", NIC, status=1)
    assert f"MISSING hugepages              a member wants 512 MB on one node: {SCRIPTS}/setup 512" in said
    assert f"hugepages/bind {NIC}" in said
    machine.run("setup", "--node", "0", "512")
    machine.run("bind", NIC)
    assert f"only 0 MB of hugepages on its node 1: {SCRIPTS}/setup --node 1 512" in machine.run("check", NIC, status=1)
    machine.run("setup", "512")
    assert f"ok      port {NIC}      driver vfio-pci, NUMA node 1" in machine.run("check", NIC)


def test_without_root_it_refuses_and_still_shows():
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    for script, *arguments in (["setup"], ["bind", NIC], ["isolate", "1"], ["undo"]):
        done = subprocess.run([*as_nobody, SCRIPTS / script, *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and "run it as root, or with --dry-run" in done.stderr, done.stderr


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="root only")
def test_hugepages_of_this_machine_are_reserved_and_given_back():
    if pathlib.Path("/var/lib/getvpn-hugepages").exists():
        pytest.skip("hugepages/setup is in force on this machine")

    def pages():
        asked = subprocess.run(["sysctl", "-n", "vm.nr_hugepages"], capture_output=True, text=True, check=True)
        return int(asked.stdout)

    before = pages()
    free = int(pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    want = free + 8
    try:
        subprocess.run([SCRIPTS / "setup", "--node", "0", "--until-reboot", str(2 * want)], check=True, timeout=30)
        assert pages() == before + 8
        subprocess.run([SCRIPTS / "check", "--need", str(2 * want)], check=True, timeout=30)
    finally:
        subprocess.run([SCRIPTS / "undo"], check=True, timeout=30)
    assert pages() == before


def test_the_shell_scripts_are_clean():
    root = SCRIPTS.parent
    scripts = [SCRIPTS / name for name in ("setup", "check", "undo", "bind", "isolate")] + [root / "packaging/deb"]
    scripts += [*root.glob("packaging/debian/*.postinst"), *root.glob("packaging/debian/*.prerm"),
                *root.glob("packaging/debian/*.postrm")]
    assert shutil.which("shellcheck"), "packaging/install test"
    done = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts], cwd=root, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stdout
