"""The house itself: imports go one way, and the front door is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {"espresso": 0, "prompts": 1, "agents": 2, "eval": 3, "finetune": 4, "espresso.cli": 5}
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


FILES = [p for package in ("espresso", "prompts", "agents", "finetune", "eval") for p in sorted((ROOT / package).rglob("*.py"))]


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


@pytest.mark.parametrize(
    "package", ["espresso", "espresso.media", "espresso.models", "espresso.world", "agents", "prompts", "finetune", "eval"]
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
