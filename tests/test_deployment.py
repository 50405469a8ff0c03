"""Checks the deployment files against the code without a Docker engine: paths, variables, commands."""

import re
import tomllib
from pathlib import Path
from typing import Any

import typer
import yaml

from pytake.cli import app
from pytake.settings import is_loopback, known_variables, load_settings
from pytake.temporal.embedded import DYNAMIC_CONFIG
from pytake.temporal.queues import RATE_LIMITED_QUEUES

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KNOWN = known_variables() | {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY"}


def test_the_compose_file_has_every_required_service() -> None:
    assert {"postgres", "temporal", "temporal-ui", "migrate", "api", "worker"} <= set(SERVICES)


def test_every_variable_is_read_by_the_code() -> None:
    for name in ("migrate", "api", "worker"):
        assert set(SERVICES[name]["environment"]) <= KNOWN, name


def test_worker_metrics_are_exposed_only_explicitly() -> None:
    assert is_loopback(
        load_settings({"PYTAKE_HOST": "0.0.0.0"}, env_file=None).telemetry.metrics_host
    )
    worker = SERVICES["worker"]["environment"]
    assert not is_loopback(worker["PYTAKE_METRICS_HOST"]), "a container's loopback is nobody's"
    assert "PYTAKE_HOST" not in worker, "a worker serves nothing else"


def test_required_secrets_have_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in (
        "POSTGRES_PASSWORD",
        "WHATSAPP_ACCESS_TOKEN",
        "WHATSAPP_APP_SECRET",
        "PYTAKE_ENCRYPTION_KEYS",
        "WHATSAPP_WEBHOOK_VERIFY_TOKEN",
    ):
        used = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert used, name
        assert all(rest.startswith(":?") for rest in used), name


def test_commands_are_commands_of_pytake() -> None:
    group = typer.main.get_command(app)
    commands = set(group.commands)  # type: ignore[attr-defined]  # a click Group
    for name in ("migrate", "api", "worker"):
        assert SERVICES[name]["command"][0] in commands
    assert SERVICES["worker"]["healthcheck"]["test"][2] in commands
    assert re.search(r'ENTRYPOINT \["pytake"\]', DOCKERFILE)
    assert re.search(r'CMD \["api"\]', DOCKERFILE)


def test_images_are_pinned_and_long_running_services_are_checked() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":\d+\.\d+", service["image"]), name
        if service.get("restart") == "unless-stopped" and name != "temporal-ui":
            assert "healthcheck" in service, name
    assert all(
        re.search(r":\d+\.\d+\.\d+", image)
        for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    )


def test_every_path_that_is_mounted_or_copied_exists() -> None:
    for source, _ in re.findall(
        r"^\s+- (\./\S+?):(\S+):ro$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE
    ):
        assert (ROOT / source).exists(), source
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    mounted = SERVICES["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"]
    assert (ROOT / "ops/temporal" / Path(mounted).name).exists()


def test_dependencies_are_services_and_started_in_order() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)


def test_the_cluster_gets_the_dynamic_configuration_of_the_embedded_server() -> None:
    config = yaml.safe_load((ROOT / "ops/temporal/dynamicconfig.yaml").read_text())
    assert set(config) == set(DYNAMIC_CONFIG)
    for key in ("matching.numTaskqueueReadPartitions", "matching.numTaskqueueWritePartitions"):
        queues = {entry["constraints"]["taskQueueName"] for entry in config[key]}
        assert queues == set(RATE_LIMITED_QUEUES)
        assert {entry["value"] for entry in config[key]} == {1}


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        name = re.split(r"\[", requirement)[0]
        assert re.search(rf"^{name}==", lock, re.MULTILINE | re.IGNORECASE), name
    assert "://" not in lock
    entries = re.findall(r"^[a-zA-Z0-9._-]+==", lock, re.MULTILINE)
    assert len(entries) <= lock.count("--hash=sha256:")
