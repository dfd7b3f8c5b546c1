"""The files for compose and KServe agree with what `segdino-deploy triton` writes and `predict --triton` asks for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.triton.address import SCHEMES

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
SERVING = Path(__file__).parents[2] / "examples" / "serving"
IMAGE = re.compile(r"nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-py3")


def flags(command: list[str]) -> dict[str, str]:
    """`--a=b` and `--c` of a command line of tritonserver."""
    assert command[0] == "tritonserver"
    return dict((*argument.removeprefix("--").split("=", 1), "")[:2] for argument in command[1:])


def test_compose_serves_the_repository_beside_it_to_this_machine_only() -> None:
    file = SERVING / "triton" / "compose.yaml"
    (service,) = yaml.safe_load(file.read_text())["services"].values()
    asked = flags(service["command"])

    assert IMAGE.fullmatch(service["image"])
    (volume,) = service["volumes"]
    assert volume == f"./model-repository:{asked['model-repository']}:ro"
    published = dict(port.rsplit(":", 1) for port in service["ports"])
    assert all(outside.startswith("127.0.0.1:") for outside in published)
    ports = {int(inside) for inside in published.values()}
    assert {SCHEMES["grpc"][2], SCHEMES["http"][2]} < ports
    assert f"http://localhost:{SCHEMES['http'][2]}/v2/health/ready" in service["healthcheck"]["test"]
    assert asked["model-control-mode"] == "none"
    assert "disable-auto-complete-config" in asked
    assert "-o model-repository" in file.read_text()


def kserve() -> dict[str, Any]:
    documents = yaml.safe_load_all((SERVING / "kserve" / "inference-service.yaml").read_text())
    return {document["kind"]: document for document in documents}


def test_kserves_service_names_the_runtime_beside_it_and_one_of_its_formats_and_protocols() -> None:
    found = kserve()
    runtime, service = found["ServingRuntime"], found["InferenceService"]
    model = service["spec"]["predictor"]["model"]

    assert (runtime["apiVersion"], service["apiVersion"]) == (
        "serving.kserve.io/v1alpha1",
        "serving.kserve.io/v1beta1",
    )
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"] in runtime["spec"]["supportedModelFormats"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert re.match(r"(pvc|s3|gs|https)://.+", model["storageUri"])


def test_kserves_runtime_serves_what_kserve_mounts_on_the_port_that_it_publishes() -> None:
    (container,) = kserve()["ServingRuntime"]["spec"]["containers"]
    asked = flags(container["args"])

    assert container["name"] == "kserve-container"
    assert IMAGE.fullmatch(container["image"])
    assert asked["model-repository"] == "/mnt/models"
    (port,) = container["ports"]
    assert int(asked["http-port"]) == port["containerPort"]
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == port["containerPort"]
        assert container[probe]["httpGet"]["path"].startswith("/v2/health/")
    compose = yaml.safe_load((SERVING / "triton" / "compose.yaml").read_text())
    assert container["image"] == compose["services"]["triton"]["image"]
