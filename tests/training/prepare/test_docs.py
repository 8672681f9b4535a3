"""The page on one's own catalogue says what the code does."""

import re
from pathlib import Path

from training.prepare.__main__ import command_line
from training.prepare.settings import EndpointSettings

PAGE = (Path(__file__).parents[3] / "docs" / "own_catalogue.md").read_text()


def test_every_setting_is_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `PREPARE_(\w+)` \| (.*?) \|", PAGE, re.MULTILINE))
    for name, field in EndpointSettings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        assert rows.pop(name.upper()).strip("` ") == default, name
        assert str(field.description) in PAGE
    assert not rows


def test_every_command_parses() -> None:
    commands = re.findall(r"^python -m training\.prepare (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        command_line().parse_args(command.split())
