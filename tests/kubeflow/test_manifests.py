"""The manifests, against Kubernetes's and KServe's own schemas; needs no cluster.

`schemas/build_schemas.py` says where the schemas come from.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "kubeflow" / "manifests"
SCHEMAS = Path(__file__).parent / "schemas"
OVERLAYS = sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir())
KINDS = {
    ("apps/v1", "Deployment"): "io.k8s.api.apps.v1.Deployment",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): (
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): "io.k8s.api.networking.v1.NetworkPolicy",
    ("policy/v1", "PodDisruptionBudget"): "io.k8s.api.policy.v1.PodDisruptionBudget",
    ("v1", "ConfigMap"): "io.k8s.api.core.v1.ConfigMap",
    ("v1", "Namespace"): "io.k8s.api.core.v1.Namespace",
    ("v1", "Secret"): "io.k8s.api.core.v1.Secret",
    ("v1", "Service"): "io.k8s.api.core.v1.Service",
    ("v1", "ServiceAccount"): "io.k8s.api.core.v1.ServiceAccount",
}
SOURCES = [file for file in sorted(MANIFESTS.rglob("*.yaml")) if file.name != "kustomization.yaml"]
WITHOUT_KUBECTL = "NOT RUN: no kubectl, whose kustomize builds the overlays"


@pytest.fixture(scope="module")
def registry() -> Registry:
    contents = {
        name: json.loads((SCHEMAS / name).read_text())
        for name in ("kubernetes.json", "kserve.json")
    }
    return Registry().with_resources(
        (name, Resource(contents=document, specification=DRAFT202012))
        for name, document in contents.items()
    )


def _validate(document: Json, registry: Registry) -> None:
    kind = (document["apiVersion"], document["kind"])
    if kind == ("serving.kserve.io/v1beta1", "InferenceService"):
        reference = "kserve.json#/$defs/V1beta1InferenceService"
    else:
        reference = f"kubernetes.json#/$defs/{KINDS[kind]}"
    Draft202012Validator({"$ref": reference}, registry=registry).validate(document)


def _documents(file: Path) -> Iterator[Json]:
    yield from yaml.safe_load_all(file.read_text())


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(MANIFESTS)))
def test_every_manifest_is_valid(file: Path, registry: Registry) -> None:
    for document in _documents(file):
        _validate(document, registry)


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("tf-serving/deployment.yaml", ("spec", "template", "spec", "contaners"), []),
        ("tf-serving/deployment.yaml", ("spec", "selector"), "coronet"),
        ("kserve/inference-service.yaml", ("spec", "predictor", "minReplica"), 1),
        ("kserve/inference-service.yaml", ("spec", "predictor", "model", "env"), {"A": "b"}),
        ("kserve/inference-service.yaml", ("spec", "predictor", "volumes"), [{"emptyDir": 3}]),
    ],
)
def test_the_schemas_refuse_mistakes(
    file: str, path: tuple[str, ...], value: object, registry: Registry
) -> None:
    (document,) = _documents(MANIFESTS / "overlays" / file)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(ValidationError):
        _validate(document, registry)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """The overlays as kustomize builds them, from a copy that has example secrets."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip(WITHOUT_KUBECTL)
    copy = tmp_path_factory.mktemp("manifests") / "manifests"
    shutil.copytree(MANIFESTS, copy)
    secrets = copy / "base" / "secrets"
    for example in secrets.glob("*.example"):
        shutil.copy(example, secrets / example.stem)
    result = {}
    for overlay in OVERLAYS:
        done = subprocess.run(
            [kubectl, "kustomize", str(copy / "overlays" / overlay)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result[overlay] = list(yaml.safe_load_all(done.stdout))
    return result


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_build_and_are_valid(
    overlay: str, built: dict[str, list[Json]], registry: Registry
) -> None:
    kinds = [document["kind"] for document in built[overlay]]
    assert {"Namespace", "ServiceAccount", "Secret", "NetworkPolicy"} <= set(kinds)
    for document in built[overlay]:
        _validate(document, registry)
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "coronet"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_referred_to_is_there(overlay: str, built: dict[str, list[Json]]) -> None:
    documents = built[overlay]
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    account = next(item for item in documents if item["kind"] == "ServiceAccount")
    for reference in (*account["secrets"], *account["imagePullSecrets"]):
        assert ("Secret", reference["name"]) in names
    for document in documents:
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            (fetch,) = pod["initContainers"]
            assert ("Secret", fetch["envFrom"][0]["secretRef"]["name"]) in names
            config = fetch["env"][1]["valueFrom"]["configMapKeyRef"]["name"]
            assert ("ConfigMap", config) in names
            labels = document["spec"]["template"]["metadata"]["labels"].items()
            service = next(item for item in documents if item["kind"] == "Service")
            assert service["spec"]["selector"].items() <= labels
        if document["kind"] == "HorizontalPodAutoscaler":
            target = document["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in names


def _containers() -> Iterator[tuple[str, Json, Json]]:
    """Yields each container with its pod's specification."""
    for file in SOURCES:
        for document in _documents(file):
            if document["kind"] == "Deployment":
                pod = document["spec"]["template"]["spec"]
                for container in (*pod["initContainers"], *pod["containers"]):
                    yield container["name"], container, pod
            if document["kind"] == "InferenceService":
                predictor = document["spec"]["predictor"]
                yield "model", predictor["model"], predictor


@pytest.mark.parametrize(("name", "container", "pod"), list(_containers()))
def test_containers_are_bounded_and_unprivileged(name: str, container: Json, pod: Json) -> None:
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}, name
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    if name != "fetch-model":
        assert "readinessProbe" in container
        assert "livenessProbe" in container


@pytest.mark.parametrize(("name", "container", "pod"), list(_containers()))
def test_workload_identity_needs_no_secret(name: str, container: Json, pod: Json) -> None:
    for source in container.get("envFrom", []):
        assert source["secretRef"]["optional"] is True, name
    for variable in container.get("env", []):
        assert "secretKeyRef" not in variable.get("valueFrom", {}), name
    assert not any("secret" in volume for volume in pod.get("volumes", []))


def test_the_rule_for_workload_identity_fits_the_policy(registry: Registry) -> None:
    """What the secrets' README says to append, appended as text."""
    base = MANIFESTS / "base"
    readme = (base / "secrets" / "README.md").read_text()
    (rule,) = re.findall(r"```yaml\n(.*?)```", readme, re.S)
    changed = (base / "network-policy.yaml").read_text() + rule
    *_, policy = yaml.safe_load_all(changed)
    _validate(policy, registry)
    assert policy["metadata"]["name"] == "allow-dns-and-object-store"
    assert policy["spec"]["egress"][-1] == {
        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }


def _overlay(name: str, kind: str) -> list[Json]:
    return [
        document
        for file in SOURCES
        if file.parent.name in (name, "base")
        for document in _documents(file)
        if document["kind"] == kind
    ]


def test_tf_serving_is_probed_for_its_model_and_scaled() -> None:
    (deployment,) = _overlay("tf-serving", "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (model,) = (
        argument.partition("=")[2]
        for argument in container["args"]
        if argument.startswith("--model_name=")
    )
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": f"/v1/models/{model}", "port": "http"}
    (scaler,) = _overlay("tf-serving", "HorizontalPodAutoscaler")
    assert 1 < scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
    # A number in the deployment would be set again with every apply.
    assert "replicas" not in deployment["spec"]
    assert "cpu" in container["resources"]["requests"], "utilization is a share of the request"


def test_kserve_is_probed_for_its_model_and_scaled() -> None:
    (service,) = _overlay("kserve", "InferenceService")
    predictor = service["spec"]["predictor"]
    for probe in ("readinessProbe", "livenessProbe"):
        path = predictor["model"][probe]["httpGet"]["path"]
        assert path == f"/v1/models/{service['metadata']['name']}"
    assert predictor["minReplicas"] < predictor["maxReplicas"]
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_gets_in_but_to_the_ports_that_serve(overlay: str) -> None:
    policies = {
        item["metadata"]["name"]: item["spec"] for item in _overlay(overlay, "NetworkPolicy")
    }
    deny = policies.pop("deny-all")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    opened = {
        port["port"]
        for policy in policies.values()
        for rule in policy.get("ingress", [])
        for port in rule["ports"]
    }
    assert opened == ({8080} if overlay == "kserve" else {8500, 8501})
    for policy in policies.values():
        assert all(rule["from"] for rule in policy.get("ingress", [])), "from anywhere"


def test_no_secret_is_committed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "kubeflow/manifests/base/secrets"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = {Path(file).name for file in tracked}
    assert all(name.endswith((".example", ".md", ".gitignore")) for name in names), names
    assert not any(
        document["kind"] == "Secret" for file in SOURCES for document in _documents(file)
    )
