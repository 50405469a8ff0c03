"""The worker's lists: a workflow or an activity that no noun lists would wait for a worker for ever."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from worker import WORKFLOWS

_ROOT = Path(__file__).parent.parent


def _classes(folder: str) -> Iterator[ast.ClassDef]:
    for path in sorted((_ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _is(decorator: ast.expr, name: str) -> bool:
    return ast.unparse(decorator).split("(")[0] == name


def test_every_activity_is_listed() -> None:
    defined: set[str] = set()
    listed: set[str] = set()
    for cls in _classes("activities"):
        for method in cls.body:
            if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if any(_is(decorator, "activity.defn") for decorator in method.decorator_list):
                defined.add(method.name)
            if method.name == "activities":
                listed |= {n.attr for n in ast.walk(method) if isinstance(n, ast.Attribute)}
    assert len(defined) > 10
    assert defined <= listed


def test_every_workflow_is_listed() -> None:
    modules = [
        importlib.import_module(f"workflows.{path.stem}")
        for path in (_ROOT / "workflows").glob("[a-z]*.py")
    ]
    defined = {
        cls
        for module in modules
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if "__temporal_workflow_definition" in vars(cls)
    }
    assert len(defined) > 5
    assert defined == set(WORKFLOWS)
