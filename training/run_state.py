"""What a training run keeps in its output folder so that a killed one goes on: its arguments, data and state.

The newest state stands in `state`; the next is written to `state.new` and takes its place when it is whole.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from retriever.files import write_whole
from training.arguments import TrainArgs, paths

STATES = ("state", "state.new")


def check_same_run(output: Path, args: TrainArgs, models: Mapping[str, str]) -> bool:
    """Whether the run was finished. A folder in which nothing was saved yet may be begun with whatever arguments.

    Args:
        models: the `model_id` of each model that is named in the arguments, since a path may hold another by now.

    Raises:
        ValueError: the folder holds a run with other arguments, pairs or models, or a model that no run made.
        OSError: one of the files of --train or --negatives cannot be read.
    """
    path = output / "args.json"
    state = any((output / name / "progress.json").exists() for name in STATES)
    finished = (output / "model.safetensors").exists() and not state
    if finished and not path.exists():
        raise ValueError(f"{output} holds a model that was not trained there; choose another --output")
    contents = {"data": _digests(args), "models": dict(models)}
    ours = json.loads(json.dumps(asdict(args))) | contents
    if state or finished:
        # What an older version did not write had the default, and its files and models are believed to be the same.
        theirs = {field.name: field.default for field in fields(args) if field.default is not MISSING}
        theirs = json.loads(json.dumps(theirs)) | contents | json.loads(path.read_text())
        # A folder may have been moved.
        compared = ours.keys() - {"output", *contents}
        changed = sorted(name for name in compared if ours[name] != theirs.get(name))
        if changed:
            raise ValueError(
                f"{output} holds a run with other arguments ({', '.join(changed)}); choose another --output"
            )
        if others := [name for name, digest in ours["data"].items() if theirs["data"].get(name) != digest]:
            raise ValueError(f"{output} holds a run on what {', '.join(others)} said before; choose another --output")
        if others := [name for name, model_id in models.items() if theirs["models"].get(name) != model_id]:
            raise ValueError(f"{output} holds a run with other weights of {', '.join(others)}; choose another --output")
    if not finished:
        output.mkdir(parents=True, exist_ok=True)
        _write(path, ours)
    return finished


def note_model(output: Path, model_id: str) -> None:
    """Writes which model came out beside what it came from."""
    path = output / "args.json"
    _write(path, json.loads(path.read_text()) | {"model_id": model_id})


def save(output: Path, accelerator: Accelerator, scheduler: Any, done: int) -> None:
    """Weights, optimiser, generators and the count of steps; the old state goes when the new one is whole."""
    new, current = output / "state.new", output / "state"
    if accelerator.is_main_process:
        _remove(new)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(new))  # every process its own generators
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    progress = json.dumps({"done": done, "scheduler": scheduler.state_dict()})
    write_whole(new / "progress.json", progress.encode())
    _remove(current)
    new.rename(current)


def resume(output: Path, accelerator: Accelerator, scheduler: Any) -> int:
    """The step to go on from: 0, or where the newest whole state stands."""
    new, current = output / "state.new", output / "state"
    # The new one is whole once its progress is written, and a kill kept it from its name. It takes it now, before the
    # next save removes what it finds under the other.
    if accelerator.is_main_process and (new / "progress.json").exists():
        _remove(current)
        new.rename(current)
    accelerator.wait_for_everyone()
    if not (current / "progress.json").exists():
        return 0
    progress = json.loads((current / "progress.json").read_text())
    accelerator.load_state(str(current))
    scheduler.load_state_dict(progress["scheduler"])
    return int(progress["done"])


def remove(output: Path) -> None:
    """The states of a run that is finished."""
    for name in STATES:
        _remove(output / name)


def _digests(args: TrainArgs) -> dict[str, str]:
    """Of the files of pairs and of their negatives, as they were named."""
    files = [named for named in args.negatives if named != "-"] + [str(paths(named)[0]) for named in args.train]
    return {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in files}


def _write(path: Path, values: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(values, indent=2) + "\n").encode())


def _remove(state: Path) -> None:
    """A state and its progress, which goes first: whatever a kill leaves of it is no state any more."""
    (state / "progress.json").unlink(missing_ok=True)
    shutil.rmtree(state, ignore_errors=True)
