"""`import espresso`: light, complete, and sure that `agents` is its own."""

import subprocess
import sys

import espresso

HEAVY = ("torch", "transformers", "langgraph", "pydantic", "numpy", "av", "PIL", "typer")


def run(code, **more):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **more)


def test_importing_espresso_imports_nothing_heavy():
    done = run(f"import sys, espresso; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_every_public_name_is_there():
    assert all(getattr(espresso, name).__name__ == name for name in espresso.__all__)
    assert set(espresso.__all__) <= set(dir(espresso))


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(espresso, "nonsense")


def test_a_foreign_agents_package_is_named(tmp_path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text('"""Somebody else\'s agents."""\n')
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import espresso")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the package `agents` at")
    assert str(tmp_path) in last
    assert "in its own environment" in last
