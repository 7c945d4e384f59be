"""Row 0: nothing happens. What it shows is how exact the other rows are: the longest that traffic stands still because the
machine had something else to do."""

import time

from scene import Row, scene


def nothing(work, rounds):
    with scene(work) as s:
        for _ in range(rounds):
            with s.round() as result:
                time.sleep(0.1)
            yield result


ROWS = [Row("0", "nothing, for comparison", "-", "this machine's other work", nothing, 50)]
