"""docker-compose.yml against the Compose specification, the Dockerfile, the settings, and .env.example."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.deploy.settings import is_setting

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def example_values() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled_in(values: dict[str, str]) -> str:
    """The file as Compose reads it; raises KeyError for a variable that is required and empty."""

    def value(match: re.Match[str]) -> str:
        found = values.get(match["name"], "")
        if not found and match["kind"] == "?":
            raise KeyError(match["name"])
        return found or (match["rest"] if match["kind"] == "-" else "")

    return _VARIABLE.sub(value, TEXT)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    values = {name: value or "a-secret" for name, value in example_values().items()}
    services: dict[str, Any] = yaml.safe_load(filled_in(values))["services"]
    return services


def test_the_file_is_what_the_specification_allows() -> None:
    values = {name: value or "a-secret" for name, value in example_values().items()}
    plain = yaml.safe_load(filled_in(values))  # anchors and merges resolved, which the parser leaves alone
    parsed = PyCompose.from_yaml(yaml.safe_dump({key: value for key, value in plain.items() if key[:2] != "x-"}))
    assert set(parsed.service_names()) == {"search", "search-gpu", "train", "qdrant", "prometheus", "grafana"}
    parsed.validate()


def test_the_parser_would_object() -> None:
    with pytest.raises(ValueError, match="depends"):
        PyCompose.from_yaml("services: {a: {image: b, depends_no: [c]}}")


def test_every_variable_is_in_the_example_and_secrets_have_no_default() -> None:
    used = {match["name"]: match["kind"] for match in _VARIABLE.finditer(TEXT)}
    assert used.keys() | {"COMPOSE_PROFILES"} == example_values().keys()
    secrets = {name for name, value in example_values().items() if name.endswith(("_KEY", "_KEYS", "_PASSWORD"))}
    assert secrets == {name for name, kind in used.items() if kind == "?"}
    assert not any(example_values()[name] for name in secrets)
    for name in secrets:
        with pytest.raises(KeyError, match=name):
            filled_in(dict.fromkeys(secrets - {name}, "x"))
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_what_the_service_is_told_are_settings(services: dict[str, Any]) -> None:
    for name in services["search"]["environment"]:
        assert name.startswith("OTEL_") or is_setting(name), name
    assert services["search-gpu"]["environment"].items() >= services["search"]["environment"].items()
    # Prometheus has a key of its own, that the service knows.
    assert services["search"]["environment"]["SEARCH_SEARCH_KEYS"].endswith(
        services["prometheus"]["environment"]["METRICS_KEY"]
    )


def test_each_waits_for_the_health_of_what_it_needs(services: dict[str, Any]) -> None:
    needs = {
        name: {other: how["condition"] for other, how in one.get("depends_on", {}).items()}
        for name, one in services.items()
    }
    assert needs["search"] == needs["search-gpu"] == {"qdrant": "service_healthy"}
    assert needs["grafana"] == {"prometheus": "service_healthy"}
    for other in {other for one in needs.values() for other in one}:
        assert services[other]["healthcheck"]["test"][0] == "CMD"
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_the_image_holds_the_graphs_that_it_serves_with() -> None:
    """Without them the model would run in torch, several times slower; in both precisions, for processors differ."""
    build, serve = (ROOT / "Dockerfile").read_text().split("\nFROM ")[1:]
    made = re.search(r"XDG_CACHE_HOME=(\S+) \S+/python -m retriever\.export --precision int8 fp32 ", build)
    read = re.search(r"XDG_CACHE_HOME=(\S+)", serve)
    copied = re.search(r"COPY --from=build (\S+) (\S+)", serve)
    assert made
    assert read
    assert copied
    assert made[1] == read[1]
    assert Path(made[1]).is_relative_to(copied[1])
    assert copied[1] == copied[2]


def test_nothing_runs_with_more_rights_than_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        published = [port.rpartition(":")[0] for port in service.get("ports", [])]
        assert all(address.startswith("127.0.0.1:") for address in published), f"{name} is open to the network"


def test_profiles(services: dict[str, Any]) -> None:
    assert {name: one["profiles"] for name, one in services.items() if "profiles" in one} == {
        "search": ["cpu"],
        "search-gpu": ["gpu"],
        "train": ["train"],
    }
    assert example_values()["COMPOSE_PROFILES"] == "cpu"
    for name in ("search-gpu", "train"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
    assert services["train"]["build"]["args"]["EXTRAS"] == "train"


def test_what_is_mounted_exists(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load(TEXT)["volumes"]
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert source in volumes or source == "./runs" or (ROOT / source).is_dir(), source
