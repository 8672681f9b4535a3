"""The README says what the code does (settings, routes, commands), and links of all documents lead somewhere."""

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


def test_every_link_of_a_document_leads_somewhere() -> None:
    root = Path(__file__).parents[1]
    for document in [root / "README.md", *root.rglob("docs/*.md"), *root.glob("retriever/weights/*/*.md")]:
        for path, anchor in re.findall(r"\]\(([^):#\s]*)(?:#([^)\s]*))?\)", document.read_text()):
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {path}"
            assert not anchor or anchor in _anchors(target), f"{document.name}: {path}#{anchor}"


def _anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
