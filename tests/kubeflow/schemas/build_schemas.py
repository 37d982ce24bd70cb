"""Builds the two schema files beside this one from what two packages ship.

They are small and committed, so that the tests need neither package. To renew them:

    pip download --no-deps kubernetes-validate kserve, and unzip both wheels
    python build_schemas.py KUBERNETES_VALIDATE_FOLDER KSERVE_FOLDER
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

KUBERNETES_VERSION = "v1.33.0"
# What the manifests use; everything that these refer to comes along.
ROOTS = (
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
)
HERE = Path(__file__).parent
PLAIN = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "object": None}


def kubernetes(folder: Path) -> dict[str, Any]:
    """Returns the strict definitions of `ROOTS` and of what they refer to."""
    schemas = folder / "kubernetes_validate" / "kubernetes-json-schema"
    strict = schemas / f"{KUBERNETES_VERSION}-local-strict" / "_definitions.json"
    everything = json.loads(strict.read_text())["$defs"]
    wanted: dict[str, Any] = {}
    queue = list(ROOTS)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted[name] = _without_prose(everything[name])
            queue += re.findall(r'#/\$defs/([^"]+)"', json.dumps(wanted[name]))
    return {"$defs": dict(sorted(wanted.items()))}


def kserve(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Returns an InferenceService's definitions, read from the client's generated models."""
    classes = {}
    for file in (folder / "kserve" / "models").glob("v1beta1_*.py"):
        source = file.read_text()
        name = re.search(r"^class (\w+)\(", source, re.M)
        if name:
            classes[name.group(1)] = source
    by_last_name = {key.rpartition(".")[2]: key for key in known["$defs"]}
    wanted: dict[str, Any] = {}
    queue = ["V1beta1InferenceService"]
    while queue:
        name = queue.pop()
        if name in wanted:
            continue
        if name not in classes:
            wanted[name] = {}  # named by the client, but not shipped with it
            continue
        types = _pairs(classes[name], "openapi_types")
        names = _pairs(classes[name], "attribute_map")
        wanted[name] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                names[field]: _schema(kind, by_last_name) for field, kind in types.items()
            },
            "required": [
                names[field] for field in types if f"`{field}`, must not be `None`" in classes[name]
            ],
        }
        queue += re.findall(r'"#/\$defs/(V1beta1\w+)"', json.dumps(wanted[name]))
    return {"$defs": dict(sorted(wanted.items()))}


def _pairs(source: str, table: str) -> dict[str, str]:
    body = re.search(rf"    {table} = \{{(.*?)\n    \}}", source, re.S)
    assert body, table
    return dict(re.findall(r"'(\w+)': '([^']+)'", body.group(1)))


def _schema(kind: str, kubernetes_names: dict[str, str]) -> dict[str, Any]:
    if items := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": _schema(items.group(1), kubernetes_names)}
    if values := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {
            "type": "object",
            "additionalProperties": _schema(values.group(1), kubernetes_names),
        }
    if kind in PLAIN:
        return {"type": PLAIN[kind]} if PLAIN[kind] else {}
    if kind.startswith("V1beta1"):
        return {"$ref": f"#/$defs/{kind}"}
    name = kubernetes_names.get(kind.removeprefix("V1"))
    return {"$ref": f"kubernetes.json#/$defs/{name}"} if name else {}


def _without_prose(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_prose(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str)) and key != "$schema"
        }
    if isinstance(node, list):
        return [_without_prose(item) for item in node]
    return node


def _write(name: str, schema: dict[str, Any]) -> None:
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    (HERE / name).write_text(text + "\n")


if __name__ == "__main__":
    core = kubernetes(Path(sys.argv[1]))
    _write("kubernetes.json", core)
    _write("kserve.json", kserve(Path(sys.argv[2]), core))
