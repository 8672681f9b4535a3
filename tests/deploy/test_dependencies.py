"""What is installed: pinned, with a licence that somebody has looked at."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def normalised(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pinned_package_has_its_licence_in_the_list_at_that_version() -> None:
    """`make audit` writes the list."""
    pins = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (\S+) +\| (\S+) +\| \S", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    listed = {normalised(name): version for name, version in rows}
    pinned = {normalised(name): version for name, version in pins}
    assert len(pinned) > 100
    assert listed.items() >= pinned.items(), pinned.items() - listed.items()
    assert not listed.keys() - pinned.keys() - {"name"}
