"""What the parts of `benchmarks.gpu` share: the device, timing on it, counting of operations, cells that may fail."""

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Timing, timed

Row = dict[str, Any]


@dataclass
class Gpu:
    """A device and how long to measure on it. `peak` is bfloat16 FLOP/s that a large matrix product reached."""

    device: torch.device
    seconds: float
    batches: list[int]
    peak: float = 0.0
    failures: list[str] = field(default_factory=list)

    def timed(self, call: Callable[[], Any]) -> Timing:
        """Until the device has done it; after two calls that do not count."""

        def whole() -> None:
            call()
            self.synchronise()

        return timed(whole, seconds=self.seconds)

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def share(self, flops: float, milliseconds: float) -> float | str:
        """Per cent of the peak; empty where either is not known."""
        return 100 * flops / (milliseconds / 1000) / self.peak if flops and self.peak else ""

    def cell(self, about: Row, measure: Callable[[], Row]) -> Row:
        """What was measured beside what it is about, torch's peak of memory, and what the card holds.

        A failure becomes a row that says so.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            measured = measure()
        except Exception as error:
            if not isinstance(error, torch.OutOfMemoryError):
                traceback.print_exc()
                self.failures.append(f"{about}: {type(error).__name__}")
            measured = {"failed": f"{type(error).__name__}: {str(error)[:80]}"}
        if self.device.type == "cuda":
            measured["peak GB"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            free, whole = torch.cuda.mem_get_info(self.device)
            measured["card GB"] = (whole - free) / 1e9  # with what the driver and libraries took past torch
        if "failed" in measured:
            self.clear()  # what the failed call had allocated
        row = about | measured
        print("  ", ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items()), flush=True)
        return row

    def clear(self) -> None:
        """Returns memory that nothing uses any more."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def flops_of(call: Callable[[], Any]) -> float:
    """Floating-point operations of matrix products, convolutions and attention, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def aligned(rows: list[Row]) -> list[Row]:
    """The same rows with the same columns, for a table."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]
