"""Which model's embedded index serves: `current.json` says so, beside the models' folders."""

import json
from pathlib import Path

from retriever.index.results import IndexUnavailable

CURRENT = "current.json"


def serving_model(folder: Path, model_id: str) -> str:
    """The model whose index serves from a folder; `model_id` itself where there is no index yet.

    Raises:
        IndexUnavailable: there are several, and nothing says which of them serves.
    """
    there = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not there:
        return model_id
    if (folder / CURRENT).exists():
        try:
            named = str(json.loads((folder / CURRENT).read_bytes())["model_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(folder / CURRENT, error) from error
        if named in there:  # and was not removed by hand
            return named
    if len(there) > 1:  # any but the one that served would bring back what was changed and removed since
        raise IndexUnavailable(
            f"{folder} holds the indexes of several models ({', '.join(there)}), and no {CURRENT} says which of them "
            "serves. Move all but the one that served last (the service's log names it) to another place, and start "
            "with its model (SEARCH_MODEL)."
        )
    return there[0]


def damaged(path: Path, error: object) -> IndexUnavailable:
    return IndexUnavailable(f"{path} is damaged: {error}. Remove that file and start again.")
