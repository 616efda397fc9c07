"""The run report and the review page of the command line, as pages of the app."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from agents.annotate.dataset.page import page_html, read_decisions, write_decisions
from espresso.errors import DataError
from eval.judge.results import read_verdicts
from eval.report import html
from serving.errors import UnknownFileError

Decided = Literal["keep", "drop", "undecided"]
"""A decision about a question; `undecided` removes it."""


class Reports:
    """Pages about the runs of a folder and about constructed datasets.

    Args:
        runs: folder of the runs, or None.
        datasets: JSONL files that `espresso annotate` wrote.
    """

    def __init__(self, runs: Path | None, datasets: Sequence[Path]) -> None:
        self._runs, self._datasets = runs, {path.name: path for path in datasets}
        if len(self._datasets) < len(datasets):
            raise DataError("two datasets for --review have the same name. Rename one of them.")
        for path in datasets:
            if not path.is_file():
                raise DataError(f"{path}: no such file. Give --review a JSONL file that `espresso annotate` wrote.")
        self._pages = tempfile.TemporaryDirectory(prefix="espresso-pages-")
        self._lock = threading.Lock()

    def runs(self) -> list[str]:
        """Return the names of the runs, sorted: their paths in the folder."""
        if self._runs is None or not self._runs.is_dir():
            return []
        files = [*self._runs.glob("*/run.json"), *self._runs.glob("*/*/run.json")]
        return sorted(str(file.parent.relative_to(self._runs)) for file in files)

    def run_page(self, names: Sequence[str], on_clip: Callable[[int, int], None] = lambda done, total: None) -> str:
        """Write the page about runs, unless it is written already; return its name.

        Args:
            names: names of runs; the others are compared with the first.
            on_clip: called with (clips done, all clips) while pictures are decoded.

        Raises:
            DataError: a run cannot be read, or the runs share no question.
        """
        known = self.runs()
        if unknown := [name for name in names if name not in known]:
            raise DataError(f"{unknown[0]}: no such run. Choose one of the list.")
        folders = [Path(self._runs or "", name) for name in names]
        digest = hashlib.sha256()
        for file in (file for folder in folders for file in sorted(folder.iterdir()) if file.is_file()):
            digest.update(f"{file}\0{file.stat().st_size}\0{file.stat().st_mtime_ns}\n".encode())
        page = f"{digest.hexdigest()[:32]}.html"
        if not (path := Path(self._pages.name, page)).is_file():
            html.write(path, folders, verdicts=[read_verdicts(folder) for folder in folders], on_clip=on_clip)
        return page

    def page(self, name: str) -> Path:
        """Return the file of a page that `run_page` wrote. Raises UnknownFileError."""
        path = Path(self._pages.name, Path(name).name)
        if not path.is_file():
            raise UnknownFileError(f"{name[:80]}: no such page. Open the runs again.")
        return path

    def datasets(self) -> list[str]:
        """Return the names of the datasets to review."""
        return list(self._datasets)

    def review_page(self, name: str, save: str) -> str:
        """Render the page to review a dataset on.

        Args:
            name: name of the dataset.
            save: where the page sends its decisions.

        Raises:
            DataError: the dataset cannot be read.
            UnknownFileError: there is no such dataset.
        """
        return page_html(self._dataset(name), save=save)

    def decide(self, name: str, decided: Mapping[str, Decided]) -> int:
        """Store decisions in the file that the export reads; return how many it has.

        Args:
            name: name of the dataset.
            decided: id of a question or rejected pair -> decision.

        Raises:
            DataError: the file cannot be read or written.
            UnknownFileError: there is no such dataset.
        """
        file = self._dataset(name).with_suffix(".decisions.json")
        with self._lock:
            decisions = read_decisions(file) if file.exists() else {}
            for question, decision in decided.items():
                if decision == "undecided":
                    decisions.pop(question, None)
                else:
                    decisions[question] = decision
            write_decisions(file, decisions)
        return len(decisions)

    def _dataset(self, name: str) -> Path:
        if name not in self._datasets:
            raise UnknownFileError(f"{name[:80]}: no such dataset. Start the app with --review FILE.")
        return self._datasets[name]

    def close(self) -> None:
        """Delete the written pages."""
        self._pages.cleanup()
