"""The import contract that routes import no other routes covers all of them."""

import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from fastapi import APIRouter

import api

pytestmark = pytest.mark.one_database


def test_the_import_contract_lists_every_routes_module() -> None:
    project = tomllib.loads((Path(api.__path__[0]).parent / "pyproject.toml").read_text())
    named = [
        contract["modules"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("Routes know no routes")
    ]
    modules = (import_module(found.name) for found in walk_packages(api.__path__, "api."))
    assert named == [
        sorted(m.__name__ for m in modules if isinstance(getattr(m, "router", None), APIRouter))
    ]
