"""NLVR2: whether a sentence about two photographs is true.

Suhr et al., "A Corpus for Reasoning about Natural Language Grounded in Photographs", ACL 2019. The
authors' `train.json`, `dev.json` or `test1.json`: one JSON object per line. The images are
`<split>-<set>-<pair>-img0.png`, the left one, and `-img1.png`, in a folder of any depth. Each
sentence is asked about several pairs of images. Next to accuracy, the paper reports consistency:
the share of sentences that are judged correctly for all of their pairs (`Metrics.consistency`).
"""

from __future__ import annotations

import re

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import text
from espresso.datasets.rows import RawRow
from espresso.schema import Question

OPTIONS = ("True", "False")

_IDENTIFIER = re.compile(r"(?P<set>[^-]+-[0-9]+)-(?P<pair>[0-9]+)-(?P<sentence>[0-9]+)")


def _read(row: RawRow) -> Question:
    name, label = text(row, "identifier"), text(row, "label")
    if not (match := _IDENTIFIER.fullmatch(name)):
        raise ValueError(f"the field 'identifier' is {name!r}, not SPLIT-SET-PAIR-SENTENCE, such as 'dev-850-0-1'")
    if label not in OPTIONS:
        raise ValueError(f"the field 'label' is {label!r}, but the options are {' and '.join(OPTIONS)}")
    return Question(
        id=name,
        visuals=tuple(f"{match['set']}-{match['pair']}-img{side}.png" for side in (0, 1)),
        text=text(row, "sentence"),
        options=OPTIONS,
        answer=label,
        group=f"{match['set']}-{match['sentence']}",
    )


DATASET = FileDataset("nlvr2", _read)
