"""Cause 4 once more: rekeys by multicast, of which a member gets none."""

import contextlib

from bridge import Net
from keyserver import KeyServer, ks_configuration
from scene import Row, Scene, portions


def lost(work, rounds):
    for n, few in enumerate(portions(rounds)):
        yield from lost_in_one_scene(work / str(n), few)


def lost_in_one_scene(work, rounds):
    """The others send with the new SA at once. B's port of the bridge loses all multicast, also the answer that is for all;
    the one that is for B alone gets through."""
    with contextlib.ExitStack() as stack:
        net = Net(stack, "IPv4")
        config = ks_configuration(
            server={"listen": [net.listen("ks")]}, peers=[{"address": net.addresses[name]} for name in "ab"],
            rekey={"transport": "multicast", "address": net.group, "retransmits": 1, "interval_s": 1})
        options = {name: {"key_servers": [net.listen("ks")], "listen": net.listen(name), "netns": net.netns(name)} for name in "ab"}
        s = Scene(work, stack, config=config, key_server=lambda: KeyServer(work, config, net.netns("ks")), options=options)
        for _ in range(rounds):
            with s.round() as result, net.without_multicast_to("b"):
                spi = s.rekey()
                s.wait_until_all_use(spi)
            for member in (s.a, s.b):
                member.wait_until_it_has(lambda spis: spis == {spi}, "the old SA to end")
            yield result


ROWS = [Row("4 multicast", "a multicast rekey is lost, and the others send with the new SA at once", "the first packet with the new SPI",
            "one round trip: the answer goes to all, and to who asked", lost, 30, target=True, needs_root=True)]
