"""RFC 2544 section 26.1: the highest rate at which nothing is lost, by halving. Measures nothing itself."""

import dataclasses

# The generator reached a rate if it offered so much of it.
REACHED = 0.97


@dataclasses.dataclass
class Trial:
    """A time of traffic at one rate."""

    wanted: float   # frames a second
    offered: int    # frames
    received: int
    seconds: float
    latency: dict | None = None

    @property
    def rate(self):
        return self.offered / self.seconds if self.seconds else 0.0

    @property
    def lost(self):
        return self.offered - self.received

    @property
    def reached(self):
        return self.rate >= REACHED * self.wanted


@dataclasses.dataclass
class Found:
    """The highest rate that lost nothing; 0 if there was none."""

    rate: float
    trials: int
    # Nothing was lost even at the highest rate that the generator can offer: the true figure is higher.
    by_generator: bool = False


def highest(run, most, *, resolution, tries=1, confirm=None):
    """`run(rate)` makes a Trial. A rate passes if in one of `tries` trials nothing is lost. The first is at `most`. What is
    found is run once more by `confirm`, which may take longer, and lowered until that passes too: by a little at first, by
    half where that does not help, as on a machine that stops now and then."""
    count = 0

    def passes(rate, once):
        nonlocal count
        for _ in range(tries):
            count += 1
            trial = once(rate)
            if trial.lost == 0:
                return True, trial
        return False, trial

    passed, trial = passes(most, run)
    if passed:
        return Found(trial.rate, count, by_generator=not trial.reached)
    low, high, stuck = 0.0, min(most, trial.rate), False
    while high - low > resolution * high and high > 1 and not stuck:
        middle = (low + high) / 2
        passed, trial = passes(middle, run)
        # Where less was offered than wanted, that is the rate that passed, or did not.
        rate = middle if trial.reached else min(middle, trial.rate)
        if passed:
            stuck, low = rate <= low, max(low, rate)
        else:
            high = rate if rate > low else middle
    lowered = 0
    while low >= 1:
        passed, trial = passes(low, confirm or run)
        if passed:
            return Found(min(low, trial.rate), count, by_generator=stuck)
        lowered += 1
        low *= 1 - max(resolution, 0.05) if lowered <= 8 else 0.5
    return Found(0.0, count)
