"""Repeated timing, and tables of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from training.markdown import markdown_table


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call."""

    median: float
    p99: float
    cpu: float  # median, of the processor, all threads: what a busy machine changes least


def timed(call: Callable[[], Any], *, seconds: float, warm_up: int = 2) -> Timing:
    """Calls again and again for about `seconds`, at least three times, after `warm_up` calls that do not count."""
    for _ in range(warm_up):
        call()
    wall: list[float] = []
    cpu: list[float] = []
    until = perf_counter() + seconds
    while len(wall) < 3 or perf_counter() < until:
        started, spent = perf_counter(), process_time()
        call()
        wall.append(1000 * (perf_counter() - started))
        cpu.append(1000 * (process_time() - spent))
    return Timing(float(np.median(wall)), float(np.percentile(wall, 99)), float(np.median(cpu)))


def medians(rounds: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of the same tables, measured several times by processes of their own, as one: the median of each number.

    The same program is up to a third slower or faster in its next process, on one machine in one hour.
    """
    return [
        {
            name: value if all(one[name] == value for one in same) else median(one[name] for one in same)
            for name, value in same[0].items()
        }
        for same in zip(*rounds, strict=True)
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as Markdown that reads well as text; numbers to three significant digits."""
    names = list(rows[0])
    return markdown_table([names, *([_cell(row[name]) for name in names] for row in rows)])


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """The processor, how many cores of it, and how busy they were before."""
    model = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when the run began"
