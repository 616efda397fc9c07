"""The structure of the project: imports in one direction, small packages, tests that mirror the tree."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {"espresso": 0, "prompts": 1, "agents": 2, "eval": 3, "finetune": 4, "serving": 5, "espresso.cli": 6}
DOORS = {"espresso/__init__.py"}


def floor(module):
    return "espresso.cli" if module.split(".")[:2] == ["espresso", "cli"] else module.split(".")[0]


def imports(path, tree):
    """Yield (module, whether at the top level) of everything a file imports."""
    top = set(map(id, tree.body)) | {id(n) for block in tree.body if isinstance(block, ast.If | ast.Try) for n in block.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, id(node) in top


def typing_only(tree):
    """Imports under TYPE_CHECKING bind nothing when the program runs."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from (name for child in node.body for name in ([child.module] if isinstance(child, ast.ImportFrom) else []))


FILES = [
    p
    for package in ("espresso", "prompts", "agents", "finetune", "eval", "serving")
    for p in sorted((ROOT / package).rglob("*.py"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    here = str(path.relative_to(ROOT))
    own = floor(here.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    tree = ast.parse(path.read_text())
    skipped = set(typing_only(tree))
    for module, at_top in imports(path, tree):
        other = floor(module)
        if other not in FLOORS or other == own or module in skipped:
            continue
        if here in DOORS or own == "espresso.cli":
            assert not at_top or FLOORS[other] == 0, (
                f"{here} imports {module} at the top: do it inside the function that needs it"
            )
        else:
            assert FLOORS[other] < FLOORS[own], f"{here} imports {module}, which lies above it"


def test_no_files_import_each_other_in_a_circle():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    graph = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text())
        skipped = set(typing_only(tree))
        imported = {module for module, _ in imports(path, tree) if module not in skipped}
        for node in tree.body:  # `from package import module`
            if isinstance(node, ast.ImportFrom) and node.module not in skipped:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        graph[name] = {module for module in imported if module in modules and modules[module].name != "__init__.py"} - {name}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_has_at_most_sixteen_entries(folder):
    entries = [path.name for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")]
    assert len(entries) <= 16, entries


WITHOUT_A_MODULE = {
    "test_house.py",  # the tree
    "espresso/test_public_api.py", "prompts/test_prompts.py", "espresso/profiles/test_profiles.py",  # packages
    "espresso/cli/test_app.py", "espresso/cli/test_judge_audit.py",
    "agents/answer/test_langgraph_server.py",  # the graph as a whole
    "eval/test_killed.py", "eval/test_run_files.py",  # further tests of a run
}  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda p: str(p.relative_to(ROOT / "tests")))
def test_a_test_file_stands_where_its_module_does(path):
    where = path.relative_to(ROOT / "tests")
    module = ROOT / where.with_name(where.name.removeprefix("test_"))
    assert module.is_file() or module.with_suffix("").is_dir() or where.as_posix() in WITHOUT_A_MODULE


def test_public_functions_name_their_parameters():
    """Editors show the parameters of a function; `**settings: Any` would hide them."""
    bundles = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in FILES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and not function.name.startswith("_")
        and function.args.kwarg
        and function.args.kwarg.arg == "settings"
    ]
    assert not bundles


@pytest.mark.parametrize(
    "package",
    ["espresso", "espresso.media", "espresso.models", "espresso.world", "agents", "prompts", "finetune", "eval", "serving"],
)
def test_every_package_says_what_it_is_for(package):
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
    assert len(ast.get_docstring(tree) or "") > 80


def test_importing_espresso_loads_nothing_heavy():
    code = "import sys, espresso; print([m for m in ('torch', 'transformers', 'langgraph', 'av', 'decord') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_readme_has_exactly_two_set_up_commands():
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("pip install")]
    assert lines == ["pip install uv && uv run espresso demo", "pip install uv && uv run pytest"]


def test_every_promise_names_a_test_that_exists():
    rows = [line for line in (ROOT / "docs/reliability.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if "tests/" in row]
    assert len(promises) > 50
    for row in promises:
        path = None
        for named in re.findall(r"[\w./]*::\w+", row):
            folder, name = named.split("::")
            path = ROOT / folder if folder else path
            assert re.search(rf"^(async )?def {name}\(", path.read_text(), re.MULTILINE), f"{named} does not exist"
