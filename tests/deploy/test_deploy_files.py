"""Docker, Compose, Kubernetes and KServe files are valid and agree, as far as tests see without a cluster."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click.testing
import pytest

yaml = pytest.importorskip("yaml", reason="needs pip install 'alexnet-fast[dev]'")

DEPLOY = Path(__file__).parents[2] / "serve" / "deploy"
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KSERVE = DEPLOY / "kserve" / "alexnet-fast.yaml"


def tool(name: str) -> str:
    """Returns the path of a program beside this Python, or skips."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}") or shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: pip install 'alexnet-fast[dev]'")
    return found


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def of_kind(file: Path, kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents(file) if document["kind"] == kind]
    return found


def pod_of(file: Path) -> dict[str, Any]:
    return of_kind(file, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_no_problem(file):
    done = subprocess.run([tool("hadolint"), file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_fits_its_schema():
    words = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_manifests_fit_the_schema_of_kubernetes(file):
    validate = pytest.importorskip("kubernetes_validate", reason="needs pip install 'alexnet-fast[dev]'")
    for document in documents(file):
        validate.validate(document, "1.31", strict=True)


def test_the_runtime_of_kserve_holds_containers_that_kubernetes_knows():
    validate = pytest.importorskip("kubernetes_validate", reason="needs pip install 'alexnet-fast[dev]'")
    containers = of_kind(KSERVE, "ClusterServingRuntime")["spec"]["containers"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": containers}}
    validate.validate(pod, "1.31", strict=True)
    assert [container["name"] for container in containers] == ["kserve-container"], "KServe goes by this name"


def test_the_service_of_kserve_takes_the_runtime():
    runtime, service = of_kind(KSERVE, "ClusterServingRuntime"), of_kind(KSERVE, "InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = [(one["name"], one["version"]) for one in runtime["spec"]["supportedModelFormats"]]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_names_ports_and_labels_agree(file):
    deployment, service = of_kind(file, "Deployment"), of_kind(file, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    (container,) = pod_of(file)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
        assert container[probe]["httpGet"]["path"] in ("/v2/health/live", "/v2/health/ready")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod_of(file)["volumes"]}
    for scaler in (one for one in documents(file) if one["kind"] == "HorizontalPodAutoscaler"):
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert "cpu" in container["resources"]["requests"], "there is nothing to take a per cent of"


def test_a_pod_lives_until_its_requests_are_answered():
    pod = pod_of(DEPLOY / "kubernetes" / "server.yaml")
    given = dict(word.split("=") for word in pod["containers"][0]["args"] if "=" in word)
    drained = float(given["--drain-delay"]) + float(given["--drain-timeout"])
    assert pod["terminationGracePeriodSeconds"] > drained


def server_options() -> set[str]:
    """Returns the options that `alexnet-fast serve` has."""
    from alexnet_fast.cli.main import commands

    shown = click.testing.CliRunner().invoke(commands, ["serve", "--help"]).output
    return set(re.findall(r"--[a-z-]+", shown))


def test_every_option_that_is_given_to_the_server_exists():
    words = [word for file in DOCKERFILES[:2] for word in re.findall(r'"(--[a-z-]+)"', file.read_text())]
    words += pod_of(DEPLOY / "kubernetes" / "server.yaml")["containers"][0]["args"]
    words += of_kind(KSERVE, "ClusterServingRuntime")["spec"]["containers"][0]["args"]
    given = {word.split("=")[0] for word in words if word.startswith("--")}
    assert given >= {"--host", "--device", "--drain-delay"}
    assert given <= server_options()


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_no_image_runs_as_root_and_all_report_their_health(file):
    text = file.read_text()
    assert re.search(r"^USER (?!root|0$)\S+$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*v2/health/ready", text, re.MULTILINE)


def test_no_port_of_compose_is_open_to_the_network():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"cpu", "gpu", "triton"}
    for service in services.values():
        dockerfile = DEPLOY.parents[1] / service["build"]["dockerfile"]
        assert dockerfile.is_file()
        exposed = re.search(r"^EXPOSE (.*)$", dockerfile.read_text(), re.MULTILINE)[1].split()
        assert [port.split(":") for port in service["ports"]] == [
            ["127.0.0.1", port, port] for port in exposed
        ]


def closure(names: set[str]) -> set[str]:
    """Returns packages with their installed dependencies."""
    found: set[str] = set()
    while names - found:
        name = (names - found).pop()
        found.add(name)
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        names |= {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in wanted if "extra ==" not in line}
    return found


def distribution(name: str) -> str:
    """Returns one name for both spellings of a package, and for the two onnxruntimes with one module."""
    return name.replace("_", "-").replace("onnxruntime-gpu", "onnxruntime")


@pytest.mark.parametrize("file", DOCKERFILES[:2], ids=lambda file: file.name)
def test_the_images_install_everything_that_serving_imports(file):
    code = (
        # Modules that Python imports at its start are not ours: setuptools has a hook there, for example.
        "import sys\nbefore = set(sys.modules)\n"
        "from alexnet_fast.serve import server, predictor\n"
        "from alexnet_fast.serve.http import app\n"
        "from alexnet_fast.serve.grpc import service\n"
        "from alexnet_fast.cli import main\n"
        "from alexnet_fast.cli.commands import serve\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    packages = importlib.metadata.packages_distributions()
    imported = {package.lower() for name in shown.split() for package in packages.get(name, [])}
    # An optional dependency of Pillow before version 13.
    imported.discard("defusedxml")
    installed = re.search(r"constraints.txt \\\n(.*?)\\\n", file.read_text(), re.DOTALL)[1]
    names = {word.split("==")[0] for word in installed.split()}
    assert "torch" not in imported
    assert set(map(distribution, imported)) - {"alexnet-fast"} <= set(map(distribution, closure(names)))
