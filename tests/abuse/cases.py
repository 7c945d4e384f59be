"""Every kind of abuse by name; each takes a directory and how long its floods last, and gives rows of the table."""

from functools import partial

import asking
import churn
import flood
import mute
import pushes
from keyserver import PACKET

# Network namespaces.
NEED_ROOT = {"tcp", "tcp-lossy"}


def flooded(work, seconds, *, plausible, addresses):
    return flood.flood(work, plausible=plausible, addresses=addresses, seconds=seconds, frame=PACKET)


ALL = {
    "random-one": partial(flooded, plausible=False, addresses=1),
    "random-many": partial(flooded, plausible=False, addresses=10_000),
    "plausible-one": partial(flooded, plausible=True, addresses=1),
    "plausible-many": partial(flooded, plausible=True, addresses=10_000),
    "forged": pushes.forged,
    "asks-foreign": partial(asking.asked, what="foreign"),
    "asks-own": partial(asking.asked, what="own"),
    "asks-unknown": partial(asking.asked, what="unknown"),
    "mute-silent": partial(mute.muted, answer="nothing"),
    "mute-garbage": partial(mute.muted, answer="garbage"),
    "tcp": partial(churn.rows, only=churn.PUSH),
    "tcp-lossy": partial(churn.rows, only=None),
}
