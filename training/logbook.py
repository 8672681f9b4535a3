"""What a run leaves behind beside its weights: a JSON-lines log, TensorBoard events, and plots at the end."""

import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class Logbook:
    """Appends to `log.jsonl` and TensorBoard; a resumed run drops what was logged after its checkpoint."""

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if _is_before(line, first_step)]
            self.path.write_text("".join(line + "\n" for line in kept))
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def add(self, step: int, values: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()

    def plot(self) -> list[Path]:
        """Write `loss.png` and, where recall was measured, `recall.png` beside the log; returns what was written."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        records = [json.loads(line) for line in self.path.read_text().splitlines()]
        names = {name for record in records for name in record}
        figures = {"loss": ["loss"], "recall": sorted(name for name in names if name.endswith("/mean"))}
        written = []
        for title, series in figures.items():
            if not any(name in names for name in series):
                continue
            figure, axes = pyplot.subplots(figsize=(7, 4))
            for name in series:
                points = [(record["step"], record[name]) for record in records if name in record]
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 40 else None)
            axes.set(xlabel="step", ylabel="mean of hit@1, 5, 10 (%)" if title == "recall" else title)
            axes.grid(alpha=0.3)
            axes.legend()
            path = self.path.with_name(f"{title}.png")
            figure.savefig(path, dpi=120, bbox_inches="tight")
            pyplot.close(figure)
            written.append(path)
        return written


def _is_before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] < step)
    except ValueError:  # a kill, or a full disk, cut it off
        return False
