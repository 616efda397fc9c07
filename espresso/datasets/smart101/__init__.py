"""SMART-101: visual puzzles for children, a picture and a question with five options.

Cherian et al., "Are Deep Neural Networks SMARTer than Second Graders?", CVPR 2023. There are 101
root puzzles with 2,000 instances each, in folders `<id>` with `puzzle_<id>.csv` and `img`; the
index `SMART_info_v2.csv` gives skill and difficulty. The release is at zenodo.org/record/7775984.

Data flow: `index` and `rows` read the files, `values` reads answers as numbers, and `splits`
chooses the rows of a part of a split; `data` joins them with the images to `PuzzleQuestion`
records, and `questions` is the dataset of `espresso eval run`. `scores` are those of models that
predict values. `puzzles` generates puzzles like 31 of the official ones, `facts` says what their
pictures show, `evidence` a part of it as evidence for an answer, and `make` writes them in the same
layout, or their images to the cache. `examples` are for the training of an LVLM.

Limits: the official images are not part of this project, so only the index was read from the
official release in tests; rows follow its documented columns. The generated puzzles are not the
official ones, and results on them are no results on SMART-101.
"""

from espresso.datasets.smart101.data import SPLITS, LoadedPuzzles, PuzzleQuestion, generate, read
from espresso.datasets.smart101.index import PuzzleInfo, Skill, read_index
from espresso.datasets.smart101.scores import chosen, solved, wosa
from espresso.datasets.smart101.values import SEQUENCES, Value, value_of

__all__ = [
    "SEQUENCES", "SPLITS", "LoadedPuzzles", "PuzzleInfo", "PuzzleQuestion", "Skill", "Value", "chosen", "generate", "read",
    "read_index", "solved", "value_of", "wosa",
]  # fmt: skip
