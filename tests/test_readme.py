"""The README says what the code does: settings, routes and commands."""

import re
from pathlib import Path

from service.app import create_app
from service.settings import Settings

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `((?:SEARCH|QDRANT)_\w+)` \| (.*?) \|", README, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        variable = name.upper() if name.startswith("qdrant") else f"SEARCH_{name.upper()}"
        default = "" if field.default is None else str(field.default)
        assert rows.pop(variable).strip("`").lower() == default.lower(), variable
    assert not rows, f"in the table, but no setting: {sorted(rows)}"


def test_every_route_is_named() -> None:
    for path in create_app(Settings()).openapi()["paths"]:
        assert path.replace("{item_id}", "{id}") in README, path


def test_every_command_exists() -> None:
    root = Path(__file__).parents[1]
    for module in set(re.findall(r"python -m ([a-z_.]+)", README)):
        parts = root / Path(*module.split("."))
        assert parts.with_suffix(".py").exists() or (parts / "__main__.py").exists(), module
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    for target in set(re.findall(r"make ([a-z-]+)`", README)):
        assert target in targets, target
