"""Which package may import which, as a table; and what an import costs."""

import ast
import graphlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# floor -> floors that it may import, beside itself and the ground: modules of trimseek/ itself
FLOORS = {
    "": (),
    "encoders": (),
    "encoders.shrink": ("encoders",),
    "encoders.training": ("encoders", "encoders.shrink"),
    "encoders.recommender.training": ("encoders", "encoders.shrink"),
    "indexer": ("encoders",),
    "search": ("encoders", "indexer"),
    "api": ("encoders", "indexer", "search"),
    "cluster": ("encoders", "indexer", "search", "api"),
    "cluster.figures": (
        *("encoders", "encoders.shrink", "indexer", "search", "api", "cluster"),
        *("eval", "eval.quality", "eval.bench", "eval.figures"),
    ),
    "eval.quality": ("encoders", "indexer", "search"),
    "eval.bench": ("encoders", "encoders.shrink", "indexer", "search", "eval.quality"),
    "eval": (),
    "compression": (
        *("encoders", "encoders.shrink", "encoders.training", "indexer", "search"),
        *("eval.quality", "eval.bench"),
    ),
    "eval.figures": (
        *("encoders", "encoders.shrink", "indexer", "search", "api"),
        *("eval.quality", "eval.bench", "compression"),
    ),
}
FOLDERS = ("encoders", "indexer", "search", "api", "eval", "compression", "cluster")
# Names of a package's public Python API: imported when they are used.
LAZY = ("__init__.py",)
# Run by another interpreter, without trimseek.
ALONE = ("eval/figures/plain_service.py", "indexer/readers/python_library.py")


def sources() -> Iterator[tuple[str, Path]]:
    """Each module's name and file."""
    for folder in ("trimseek", *FOLDERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT).with_suffix("")
            parts = relative.parts if folder == "trimseek" else ("trimseek", *relative.parts)
            yield ".".join(parts), path


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else str(node.module) for name in inner]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == "trimseek")


def floor_of(module: str) -> str:
    inner = module.removeprefix("trimseek").removeprefix(".")
    fitting = [floor for floor in FLOORS if f"{inner}.".startswith(f"{floor}.") or not floor]
    return max(fitting, key=len)


MODULES = dict(sources())


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_upwards(module: str) -> None:
    floor, path = floor_of(module), MODULES[module]
    if path.name in LAZY or str(path.relative_to(ROOT)) in ALONE:
        return
    allowed = {floor, "", *FLOORS[floor]}
    above = [name for name in imported(path, set(MODULES)) if floor_of(name) not in allowed]
    assert above == []


def test_the_floors_have_an_order() -> None:
    graphlib.TopologicalSorter(FLOORS).prepare()  # raises CycleError


def test_no_import_goes_in_a_circle() -> None:
    graph = {
        module: set(imported(path, set(MODULES))) - {module}
        for module, path in MODULES.items()
        if path.name not in LAZY
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_wheel_has_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        str(name.removesuffix(".__init__")) for name in MODULES if name.endswith(".__init__")
    }
    assert set(settings["packages"]) == packages
    assert settings["package-dir"] == {f"trimseek.{folder}": folder for folder in FOLDERS}


def test_import_is_light() -> None:
    heavy = ("numpy", "faiss", "onnxruntime", "torch", "pydantic", "typer", "rich")
    code = (
        "import sys; before = set(sys.modules); import trimseek, json;"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_the_public_names_are_there() -> None:
    import trimseek

    for name in trimseek.__all__:
        assert getattr(trimseek, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        trimseek.nothing  # noqa: B018
