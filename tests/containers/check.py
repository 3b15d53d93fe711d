"""Checks what is in docker/ with tools that the tests do without: `make containers`.

hadolint reads the Dockerfiles. The chart is rendered by Go's text/template, as Helm does, for several choices of
values, and what comes out is validated against the Kubernetes schema, resource by resource. Where `helm` is installed,
it lints and renders the chart too. ScaledObject is KEDA's own kind, of which no schema is at hand; it is only parsed.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "docker" / "helm" / "lumiere"
RENDERER = Path(__file__).parent / "render"
KUBERNETES = "1.30"
OTHER_KINDS = ("ScaledObject",)
CHOICES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "everything chosen": {
        "storage": {"endpoint": "http://minio:9000", "credentialsSecret": "bucket"},
        "models": {
            "folders": ["/models/a", "/models/b"],
            "volume": {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        },
        "settings": {"LUMIERE_RETENTION_HOURS": "72"},
        "serviceAccountName": "lumiere",
        "imagePullSecrets": [{"name": "registry"}],
        "gateway": {
            "nodeSelector": {"pool": "web"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "image": {"tag": "9"},
        },
        "worker": {
            "pools": [
                {"name": "small", "folders": ["/models/a"], "ids": ["a"]},
                {
                    "name": "large",
                    "folders": ["/models/a", "/models/b"],
                    "ids": ["a", "b"],
                    "replicas": 2,
                    "maxReplicas": 3,
                    "batchSize": 8,
                    "resources": {"limits": {"nvidia.com/gpu": 2}},
                    "nodeSelector": {"gpu": "h200"},
                },
            ],
            "runtimeClassName": "nvidia",
            "nodeSelector": {"gpu": "h200"},
            "affinity": {"nodeAffinity": {}},
            "tolerations": [],
        },
        "webhooks": {"replicas": 2},
        "keda": {"enabled": True},
    },
}


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, map by map, as Helm does it."""
    both = {key: merged(under[key], over[key]) for key in over if isinstance(under.get(key), dict) and over[key]}
    return {**under, **over, **both}


def render(chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """The resources of the chart under these values."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    data = {
        "Values": merged(yaml.safe_load((CHART / "values.yaml").read_text()), chosen),
        "Chart": {key[0].upper() + key[1:]: value for key, value in chart.items()},
        "Release": {"Name": "test", "Namespace": "default", "Service": "Helm"},
    }
    command = ["go", "run", ".", str(CHART)]
    done = subprocess.run(command, cwd=RENDERER, input=json.dumps(data), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the chart cannot be rendered: {done.stderr}")
    files: dict[str, str] = json.loads(done.stdout)
    return [resource for text in files.values() for resource in yaml.safe_load_all(text) if resource]


def check_chart() -> None:
    for name, chosen in CHOICES.items():
        kinds = []
        for resource in render(chosen):
            kinds.append(resource["kind"])
            if resource["kind"] not in OTHER_KINDS:
                kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        print(f"chart, {name}: {', '.join(kinds)}")
    if shutil.which("helm"):
        subprocess.run(["helm", "lint", "--strict", str(CHART)], check=True)
        subprocess.run(["helm", "template", "test", str(CHART)], check=True, stdout=subprocess.DEVNULL)
    else:
        print("helm is not installed: helm lint and helm template were left out")


def check_dockerfiles() -> None:
    files = sorted(map(str, (ROOT / "docker").glob("*.Dockerfile")))
    subprocess.run(["hadolint", *files], check=True)
    print(f"hadolint: {len(files)} files")


if __name__ == "__main__":
    check_dockerfiles()
    check_chart()
