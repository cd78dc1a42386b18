"""Who imports whom: without a cycle, and nothing that a part has no business with."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "yosort"
NAMES = {
    path: ".".join(("yosort", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in [*ROOT.rglob("*.py"), *ROOT.glob("*.pyx")]
}
MODULES = set(NAMES.values())
#: What functions import: packages that need not be installed; tqdm, which progress=True asks for.
OPTIONAL = {"huggingface_hub", "matplotlib", "tqdm"}
#: hashlib brings OpenSSL along: a tenth of the memory of a process without a model;
#: importlib.metadata the mail parser.
LARGE = {"hashlib", "importlib"}


def imports(node: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each imported module, and whether a function imports it; none for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from ((n if n in MODULES else str(child.module), inside) for n in names)
        yield from imports(child, inside or isinstance(child, ast.FunctionDef))


IMPORTS = {
    NAMES[path]: list(imports(ast.parse(path.read_text("utf-8"))))
    for path in NAMES
    if path.suffix == ".py"
}
GRAPH = {name: {other for other, _ in found} & MODULES for name, found in IMPORTS.items()}


def reached(name: str) -> set[str]:
    """Return a module and all that it imports, at any depth."""
    seen, waiting = set(), [name]
    while waiting:
        seen.add(here := waiting.pop())
        waiting += GRAPH.get(here, set()) - seen
    return seen


def test_no_module_imports_itself_through_others() -> None:
    TopologicalSorter(GRAPH).prepare()


def test_ops_know_no_checkpoint_model_nor_config() -> None:
    above = ("yosort.checkpoint", "yosort.model", "yosort.config", "yosort.tasks", "yosort.tuning")
    for name in GRAPH:
        if name.startswith("yosort.ops"):
            assert not [other for other in reached(name) if other.startswith(above)], name


def test_functions_import_what_is_optional_alone() -> None:
    # The commands say why they do, in cli/__init__.py, and __main__.py in its function.
    found = {
        (name, other)
        for name, others in IMPORTS.items()
        for other, inside in others
        if inside and not name.startswith(("yosort.cli", "yosort.__main__"))
    }
    may = OPTIONAL | LARGE
    assert {(name, other) for name, other in found if other.split(".")[0] not in may} == set()


def test_all_that_is_logged_is_under_the_package_s_name() -> None:
    """Whoever asks the logger "yosort" hears every module, the command line's handler aside."""
    found = {
        (NAMES[path], ast.unparse(call.args[0]) if call.args else "")
        for path in NAMES
        if path.suffix == ".py"
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("getLogger")
    }
    assert len(found) > 10
    assert {where for where, name in found if name not in ("'yosort'", "__name__")} == {
        "yosort.cli"
    }


def test_the_version_loads_no_numpy() -> None:
    code = (
        "import sys, yosort.cli\n"
        "try: yosort.cli.main(['--version'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'numpy' not in sys.modules and 'yosort.model.architectures' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent / "tests")
