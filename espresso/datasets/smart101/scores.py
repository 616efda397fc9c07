"""Scores of predicted values: S_acc, O_acc and WOSA.

Cherian et al., CVPR 2023, report the solution accuracy S_acc, the share of predictions that equal
the value of the answer, and the option accuracy O_acc, the share for which the option nearest to
the prediction is the correct one (`get_option_sel_acc` in `utils.py` of their code). A model that
chooses an option has only one of them: its accuracy.

WOSA, the weighted option selection accuracy, ranks entries of the SMART-101 challenge. Its
definition is in no public code; here each puzzle weighs as its difficulty (1 to 3) in the index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from espresso.datasets.smart101.values import SEQUENCES, Value

BY_LETTER = frozenset({32, 44, 51, 66, 68, 69, 82, 84, 95, 98})
"""Puzzles whose prediction is the index of the option, whatever the options say."""


def solved(prediction: Value, answer: Value) -> bool:
    """Return whether a predicted value is that of the answer (S_acc)."""
    return prediction == answer


def chosen(puzzle: int, prediction: Value, options: Sequence[Value]) -> int | None:
    """Return the index of the option that a prediction selects (O_acc).

    It is the nearest one, the first of several. Of a sequence only the same one counts, and None
    means that there is none.

    Args:
        puzzle: id of the root puzzle.
        prediction: the predicted value.
        options: values of the options.
    """
    if puzzle in SEQUENCES:
        return next((index for index, option in enumerate(options) if option == prediction), None)
    if puzzle in BY_LETTER:
        return prediction[0] if 0 <= prediction[0] < len(options) else None
    distances = [abs(option[0] - prediction[0]) for option in options]
    return distances.index(min(distances))


def wosa(puzzles: Sequence[int], correct: Sequence[bool], difficulty: Mapping[int, int]) -> float:
    """Return the weighted option selection accuracy, 0 to 1.

    Args:
        puzzles: id of the root puzzle of each question, at least one.
        correct: whether the correct option of each question was selected.
        difficulty: id of a root puzzle -> its weight.
    """
    by_puzzle = defaultdict[int, list[bool]](list)
    for puzzle, right in zip(puzzles, correct, strict=True):
        by_puzzle[puzzle].append(right)
    total = sum(difficulty[puzzle] for puzzle in by_puzzle)
    return sum(difficulty[puzzle] * fmean(right) for puzzle, right in by_puzzle.items()) / total
