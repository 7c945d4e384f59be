"""Rule S9: our key server with a member of another make, and our member with a key server of another make. The others are
written by hand in Python (tests/independent) and share nothing with ours.
"""

import collections
import contextlib
import os
import threading

from gdoi_key_server import KeyServer as OtherKeyServer
from gdoi_key_server import traffic_sa
from gdoi_member import Member as OtherMember
from keyserver import GROUP, KS, NETWORK, PACKET, PSK, KeyServer, RegisteringMember, open_pipe
from oracle import OracleSa
from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Ether

OTHER = (f"{NETWORK}.9", 18849)
KEY_SERVER = (KS.split(":")[0], int(KS.split(":")[1]))
AES_GCM_16 = 20
BURST = 32
CROSSES = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B5) / bytes(46))
FROM_AFAR = IP(src="10.2.0.1", dst="10.1.0.1") / b"sealed by another make"


class Site:
    """Our member between pipes and files: what it has sealed can be read once it has ended."""

    def __init__(self, work, stack):
        own = work / "a"
        own.mkdir()
        os.mkfifo(own / "wan-in")
        self.member = stack.enter_context(RegisteringMember(work, "a", wan="net_pcap1,rx_pcap=wan-in,tx_pcap=wan-out.pcap"))
        self.wan_in = open_pipe(own / "wan-in", self.member)
        self.closing = threading.Event()
        self.ticking = threading.Thread(target=self.tick)
        self.ticking.start()
        stack.callback(self.close)
        self.member.wait_until_it_answers()

    def tick(self):
        """The worker waits in a port until it has a burst from there, so both always have something to cross the link."""
        while not self.closing.wait(0.005):
            for _ in range(BURST):
                self.member.send(CROSSES)
                self.send_wan(CROSSES)

    def close(self):
        if not self.closing.is_set():
            self.closing.set()
            self.ticking.join()
            os.close(self.wan_in)

    def send_wan(self, frame):
        os.write(self.wan_in, bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame)

    def sends_with(self, spi):
        self.member.wait_until(lambda: (shown(spi), "active") in self.states(), f"{shown(spi)} to be sent with")

    def states(self):
        return {(sa["spi"], sa["state"]) for sa in self.member.ctl("sa", "list")["sas"]}

    def seals(self):
        before = self.member.ctl("counters")["encrypted"]
        self.member.send(*[PACKET] * 8)
        self.member.wait_until(lambda: self.member.ctl("counters")["encrypted"] == before + 8, "packets from the LAN")

    def opens(self, oracle, sid):
        before = self.member.ctl("counters")["decrypted"]
        for _ in range(8):
            self.send_wan(bytes(oracle.seal(FROM_AFAR, sid=sid)))
        self.member.wait_until(lambda: self.member.ctl("counters")["decrypted"] == before + 8, "what the other has sealed")

    def sealed_with(self, oracles):
        """Ends the member, opens all that it has sealed, and says by SPI how many that were."""
        self.close()
        ended = self.member.end()
        assert ended.status == 0 and ended.drops() == {}
        opened = collections.Counter()
        for packet in (Ether(frame) for frame in ended.wan() if frame != CROSSES):
            oracle = oracles[packet[ESP].spi]
            assert oracle.open(bytes(packet)) == PACKET[14:]
            opened[oracle.spi] += 1
        return opened


def shown(spi):
    """An SPI as the member's control socket has it."""
    return f"0x{spi.hex()}"


def scapy_s(spi, keymat):
    """An SA of AES-128-GCM in tunnel mode as scapy has it."""
    oracle = OracleSa(int.from_bytes(spi, "big"))
    oracle.key = keymat
    return oracle


def test_sync_09_a_member_of_another_make_registers_is_rekeyed_and_asks(tmp_path):
    with contextlib.ExitStack() as stack:
        ks = stack.enter_context(KeyServer(tmp_path)).wait_until_it_answers()
        site = Site(tmp_path, stack)
        site.member.wait_until_it_has(bool)
        other = stack.enter_context(contextlib.closing(
            OtherMember(OTHER, KEY_SERVER, psk=PSK.encode(), name="other.example.net", group=GROUP["id"])))
        other.register()
        ((first, (transform, attributes, keymat)),) = other.sas.items()
        # 1: seconds, 4: tunnel mode, 6: key length, 14: both addresses kept, 15: symmetric.
        assert (transform, attributes | {2: 0}) == (AES_GCM_16, {1: 1, 2: 0, 4: 1, 6: 128, 14: 4, 15: 3})
        assert 0 < attributes[2] <= 3600 and len(other.sender_ids) == 1
        (sid,) = other.sender_ids
        oracles = {int.from_bytes(first, "big"): scapy_s(first, keymat)}
        site.sends_with(first)
        site.seals()
        site.opens(oracles[int.from_bytes(first, "big")], sid)

        ks.ctl("rekey", "finance")
        number = other.follow()
        (second,) = set(other.sas) - {first}
        oracles[int.from_bytes(second, "big")] = scapy_s(second, other.sas[second][2])
        site.sends_with(second)
        site.seals()
        site.opens(oracles[int.from_bytes(second, "big")], sid)

        def acknowledged():
            (entry,) = [m for m in ks.ctl("member", "list", "finance")["members"] if m["address"].startswith(f"{OTHER[0]}:")]
            return (entry["last_acknowledged"] or {}).get("sequence") == number

        ks.wait_for(acknowledged, "the other's acknowledgement")
        held = dict(other.sas)
        other.sas.clear()
        other.ask(second)
        other.follow()
        assert other.sas[second][2] == held[second][2], "the key server answered INVALID-SPI with the same SA"
        opened = site.sealed_with(oracles)
        assert opened == {spi: 8 for spi in oracles}
        ks.end()


def test_sync_09_our_member_with_a_key_server_of_another_make(tmp_path):
    first, second, third = (traffic_sa(spi) for spi in (0x1001, 0x1002, 0x1003))
    oracles = {int.from_bytes(sa.spi, "big"): scapy_s(sa.spi, sa.keymat) for sa in (first, second, third)}
    with OtherKeyServer(KEY_SERVER, psk=PSK.encode(), group=GROUP["id"], sas=[first]) as ks, contextlib.ExitStack() as stack:
        site = Site(tmp_path, stack)
        site.sends_with(first.spi)
        site.seals()
        site.opens(oracles[0x1001], sid=900)

        ks.add(second)
        number = ks.rekey()
        site.member.wait_until(lambda: number in ks.acknowledged, "the acknowledgement")
        site.sends_with(second.spi)
        site.seals()

        # Rule S8: an SA that was lost is asked for when a packet comes, and the packets wait for it.
        site.member.ctl("sa", "delete", shown(second.spi))
        site.opens(oracles[0x1002], sid=900)
        assert second.spi in ks.asked and ks.registrations == 1

        ks.roll_kek()
        ks.add(third)
        del ks.sas[second.spi]
        number = ks.rekey(deleted=[second.spi])
        site.member.wait_until(lambda: number in ks.acknowledged, "the acknowledgement under the new KEK")
        site.sends_with(third.spi)
        assert shown(second.spi) not in site.member.spis()
        site.seals()
        assert site.sealed_with(oracles) == {spi: 8 for spi in oracles}
        assert (ks.failures, ks.registrations) == ([], 1)
