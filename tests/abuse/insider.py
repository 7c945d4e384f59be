"""control/gdoi/examples/flooding-member.rs: a member that abuses what it was given."""

from keyserver import GROUP, KS, NETWORK, PSK, Process
from member import BINARIES

ADDRESS = f"{NETWORK}.9"


class Insider(Process):
    def __init__(self, work, name="insider", *, group=GROUP, **options):
        options = {"to": KS, "local": f"{ADDRESS}:18849", "psk": PSK, "group": group["id"], "identity": ADDRESS, **options}
        super().__init__(work, name, [BINARIES / "examples" / "flooding-member", *(f"{k}={v}" for k, v in options.items())])

    def result(self, seconds):
        """How its flood went."""
        assert self.process.wait(timeout=seconds) == 0, self.log.read_text()
        (done,) = self.events("done")
        return done


def marked_spis(work, count, **options):
    """SPIs that bear the key server's mark and that no SA has, as only its members know them."""
    with Insider(work, "insider-marks", marked=count, **options) as insider:
        assert insider.process.wait(timeout=20) == 0, insider.log.read_text()
        return insider.events("registered")[0]["marked"]
