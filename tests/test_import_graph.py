"""The import graph: no cycles, and no import from a lower layer to a higher one.

Imports inside functions count as well: they are arrows between modules like any other.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Lowest first. A package imports its own layer and those below it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "rarl",
            "rarl.arguments",
            "rarl.compat",
            "rarl.errors",
            "rarl.extras",
            "rarl.fairness",
            "rarl.limits",
            "rarl.settings",
            "rarl.stats",
            "rarl.yaml_file",
        }
    ),
    frozenset({"rarl.records", "rarl.response", "rarl.text"}),
    frozenset({"rarl.judge", "rarl.models", "rarl.prompts", "rarl.scans"}),
    frozenset({"rarl.data", "rarl.generation", "rarl.rewards"}),
    frozenset({"rarl.checks", "rarl.inference"}),
    frozenset({"rarl.reports", "rarl.review"}),
    frozenset({"rarl.evaluation", "rarl.familiarity", "rarl.training"}),
    frozenset({"rarl.facts", "rarl.pocket"}),
    frozenset({"rarl.cli"}),
    frozenset({"rarl.__main__"}),
    frozenset({"demo"}),
)
# Known exceptions. Remove an entry once its import is gone; add none.
CYCLES: set[frozenset[str]] = set()
UPWARD: set[tuple[str, str]] = set()
# Modules that a table names, to be imported on demand: the table cannot be above what it names.
NAMED = {"rarl.data.sets": {"rarl.review.training_rows"}}


def modules() -> dict[str, Path]:
    """Each module's dotted name and its file."""
    files = [path for top in ("rarl", "demo") for path in (ROOT / top).rglob("*.py")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, files, strict=True)}


def imports_of(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of this repository that a module imports anywhere in its text."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: write the import with its full name"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                imported.add(module if module in known else str(node.module))
    return {module for module in imported if module in known and module != name}


def package_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "rarl" else parts[0]


def cycles_of(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Sets of modules that reach each other."""

    def reachable(start: str) -> set[str]:
        reached: set[str] = set()
        waiting = [start]
        while waiting:
            for module in graph[waiting.pop()] - reached:
                reached.add(module)
                waiting.append(module)
        return reached

    reach = {module: reachable(module) for module in graph}
    return {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in graph
        if module in reach[module]
    }


MODULES = modules()
GRAPH = {name: imports_of(name, path, MODULES) for name, path in MODULES.items()}


def test_a_cycle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert cycles_of(graph) == {frozenset({"b", "c"})}


def test_no_cycle_beside_the_known_ones() -> None:
    assert cycles_of(GRAPH) == CYCLES


def test_every_package_has_its_layer() -> None:
    placed = {package for layer in LAYERS for package in layer}
    missing = {package_of(module) for module in MODULES} - placed
    assert not missing, f"place {sorted(missing)} in LAYERS"


def test_no_import_from_a_lower_layer_to_a_higher_one() -> None:
    level = {package: number for number, layer in enumerate(LAYERS) for package in layer}
    upward = {
        (module, imported)
        for module, targets in GRAPH.items()
        for imported in targets
        if level[package_of(imported)] > level[package_of(module)]
    }
    assert upward == UPWARD


def test_modules_are_imported_by_name_only_where_it_is_listed() -> None:
    by_name: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        text = path.read_text("utf-8")
        if "import_module(" in text and module != "rarl.cli":
            # "rarl" alone is the name of a variant.
            by_name[module] = {
                str(node.value)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Constant) and node.value in MODULES.keys() - {"rarl"}
            }
    assert {module: names for module, names in by_name.items() if names} == NAMED


def test_statistics_import_nothing_else_of_rarl() -> None:
    for module, targets in GRAPH.items():
        if package_of(module) == "rarl.stats":
            assert {package_of(target) for target in targets} <= {"rarl.stats"}
