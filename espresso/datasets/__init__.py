"""Datasets for evaluation and training, one module per format.

Each module starts with the dataset's citation and defines `DATASET`. To add a dataset, write a
module with a function from a row to a `Question`, wrap it in a `FileDataset`, and add its name to
`DatasetName`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Literal, cast, get_args

from espresso.datasets.base import (
    Dataset,
    DatasetFiles,
    Example,
    FileDataset,
    LoadedExamples,
    LoadedQuestions,
)
from espresso.datasets.frames import FrameReference, VideoFrame
from espresso.datasets.rows import BadRow
from espresso.errors import DataError

DatasetName = Literal[
    "records",
    "world",
    "videoespresso",
    "nextqa",
    "egoschema",
    "mvbench",
    "videomme",
    "nlvr2",
    "raiv",
    "raiv-reasons",
    "smart101",
]

NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
"""Names of the datasets."""

_MODULES = {"raiv": "raiv.questions", "raiv-reasons": "raiv.reasons", "smart101": "smart101.questions"}
"""Name -> module, where it has another name than the dataset."""

__all__ = [
    "NAMES", "BadRow", "Dataset", "DatasetFiles", "DatasetName", "Example", "FileDataset", "FrameReference",
    "LoadedExamples", "LoadedQuestions", "VideoFrame", "get_dataset",
]  # fmt: skip


def get_dataset(name: str) -> Dataset:
    """Return a dataset by its name.

    Raises:
        DataError: no dataset has this name; the message suggests a similar one.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise DataError(f"unknown dataset {name!r}; the datasets are {', '.join(NAMES)}.{hint}")
    return cast(Dataset, import_module(f"espresso.datasets.{_MODULES.get(name, name)}").DATASET)
