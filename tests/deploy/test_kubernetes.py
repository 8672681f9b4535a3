"""The Kubernetes manifests against the schemas of the API, and against the image that they run."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.settings import is_setting

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/search.yaml").read_text()))


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in MANIFESTS if one["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    spec: dict[str, Any] = of_kind("Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_api_takes_it(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_would_object() -> None:
    broken = {**of_kind("Deployment"), "spec": {**of_kind("Deployment")["spec"], "replicsa": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_selectors_meet_the_pods() -> None:
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert of_kind("Deployment")["spec"]["selector"]["matchLabels"].items() <= labels
    assert of_kind("Service")["spec"]["selector"].items() <= labels
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    target = of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", of_kind("Deployment")["metadata"]["name"])
    assert "replicas" not in of_kind("Deployment")["spec"], "each apply would undo what the autoscaler did"


def test_the_pod_fits_the_image(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert f"EXPOSE {container['ports'][0]['containerPort']}" in DOCKERFILE
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert mounted == {"/tmp", *re.findall(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)}
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_the_pod_has_no_rights_that_it_does_not_need(pod: dict[str, Any]) -> None:
    context = pod["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False


def test_probes_ask_what_they_are_for(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    asked = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


def test_what_the_service_is_told_are_settings() -> None:
    for name in of_kind("ConfigMap")["data"]:
        assert name.startswith("OTEL_") or is_setting(name), name


def test_a_write_outlives_the_loss_of_one_qdrant_node() -> None:
    values = yaml.safe_load((ROOT / "deploy/kubernetes/qdrant-values.yaml").read_text())
    data = of_kind("ConfigMap")["data"]
    replicas, consistency = int(data["QDRANT_REPLICAS"]), int(data["QDRANT_WRITE_CONSISTENCY"])
    assert values["config"]["cluster"]["enabled"] is True
    assert 2 <= replicas <= values["replicaCount"]
    assert 1 < consistency <= replicas
    assert int(data["QDRANT_SHARDS"]) % values["replicaCount"] == 0, "each node carries as much as the others"
