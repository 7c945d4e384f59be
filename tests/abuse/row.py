"""A line of the abuse table, and what is read off a process while it is abused."""

import dataclasses
import os

TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Row:
    """One kind of abuse: what was measured, what came out, what is allowed."""

    abuse: str
    measured: str
    result: str
    limit: str
    kept: bool


def at_most(abuse, measured, value, limit, shown="{:,.0f}"):
    return Row(abuse, measured, shown.format(value), f"at most {shown.format(limit)}", value <= limit)


def at_least(abuse, measured, value, limit, shown="{:,.0f}"):
    return Row(abuse, measured, shown.format(value), f"at least {shown.format(limit)}", value >= limit)


def same(abuse, measured, before, after):
    """A row that says that something has not changed."""
    differences = [key for key in before if before[key] != after[key]]
    result = "unchanged" if not differences else "; ".join(f"{key}: {before[key]}, then {after[key]}" for key in differences)
    return Row(abuse, measured, result, "unchanged", not differences)


def cost(abuse, measured, value, shown="{:,.1f}"):
    """A row that only tells what something costs."""
    return Row(abuse, measured, shown.format(value), "-", True)


def joined(first, *others):
    """Several rows about the same as one."""
    rows = (first, *others)
    measured, result, limit = ("; ".join(getattr(row, name) for row in rows) for name in ("measured", "result", "limit"))
    return Row(first.abuse, measured, result, limit, all(row.kept for row in rows))


def resident(process):
    """KiB of memory that a process has."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def processor_s(process, threads=None):
    """Seconds of processor time that a process has used, or only its threads whose names begin with one of these."""
    names = [f"/proc/{process.pid}/stat"]
    if threads:
        names = [f"/proc/{process.pid}/task/{task}/stat" for task in os.listdir(f"/proc/{process.pid}/task")]
    used = 0
    for name in names:
        with open(name) as stat:
            begin, rest = stat.read().rsplit(")", 1)
        if threads is None or begin.split("(", 1)[1].startswith(threads):
            user, system = rest.split()[11:13]
            used += (int(user) + int(system)) / TICKS
    return used
