"""Alerts, the dashboard and docs/operations.md against the metrics that the service has."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import Metrics

ROOT = Path(__file__).parents[2]
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/product-search.json").read_text())
OPERATIONS = (ROOT / "docs/operations.md").read_text()
_SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"], "gauge": [""]}


def metrics_of_the_service() -> dict[str, str]:
    """The service's own metrics, as Prometheus names their families."""
    families = Metrics().registry.collect()
    own = [family for family in families if family.name.startswith("search_")]
    return {f"{one.name}{_SUFFIXES[one.type][0] if one.type != 'histogram' else ''}": one.type for one in own}


def names_to_ask_for() -> set[str]:
    metrics = Metrics()
    metrics.engine_pid = os.getpid  # a process of its own is measured as the service's is
    families = metrics.registry.collect()
    return {f"{one.name}{suffix}" for one in families for suffix in _SUFFIXES.get(one.type, [""])}


def labels_of(metric: str) -> set[str]:
    instruments = [one for one in vars(Metrics()).values() if hasattr(one, "_labelnames")]
    (found,) = [one for one in instruments if metric.startswith(one._name)] or [None]
    return set(found._labelnames) if found is not None else set()


EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in ALERTS},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    },
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_an_expression_asks_for_metrics_that_there_are(expression: str) -> None:
    asked = set(re.findall(r"\b(?:search|process|engine)_[a-z_]+", expression))
    assert asked or expression.startswith("up{")
    assert asked <= names_to_ask_for()
    for metric, matchers in re.findall(r"\b(search_[a-z_]+)\{([^}]*)\}", expression):
        used = set(re.findall(r"(\w+)=", matchers)) - {"instance", "job"}
        assert used <= labels_of(metric), metric


def test_alert_names_are_unique_and_say_how_urgent() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"page", "ticket"}


def test_every_alert_has_a_section_that_says_what_to_do_and_a_test() -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", OPERATIONS, re.MULTILINE | re.DOTALL))
    assert sections.keys() == {rule["alert"] for rule in ALERTS}
    for name, text in sections.items():
        assert "**Do:**" in text, name
    tested = (ROOT / "deploy/prometheus/alerts_test.yml").read_text()
    for name in sections:
        assert re.search(rf"\b{name}\b", tested), name


def test_every_metric_is_in_the_table_with_its_type() -> None:
    rows = dict(re.findall(r"^\| `(search_\w+)(?:\{[^`]*\})?` \| (\w+) \|", OPERATIONS, re.MULTILINE))
    assert rows == metrics_of_the_service()


def test_the_dashboard_fits_its_grid_and_its_source() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        own = {(column, row) for column in columns for row in rows}
        assert not cells & own, f"{panel['title']} lies on another panel"
        cells |= own
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel} == {
        source["datasources"][0]["uid"]
    }
