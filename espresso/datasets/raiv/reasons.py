"""The reasoning task of RAIV: why a statement about two visuals is false (section 3.1).

Only false statements with reasons are asked about. The options are the three reasons, so chance is
1/3. The pairs are those of `espresso.datasets.raiv.questions`.
"""

from __future__ import annotations

from espresso.datasets.raiv.media import name_of
from espresso.datasets.raiv.pairs import RaivPair
from espresso.datasets.raiv.questions import PairDataset
from espresso.schema import Question

INSTRUCTION = 'This statement about the two visuals is false: "{statement}" Why is it false?'
"""Text of the question."""


def reason_question(pair: RaivPair) -> Question:
    """Return the question why the statement of a pair is false.

    Raises:
        ValueError: the pair has no reasons.
    """
    if pair.reasons is None or pair.reason not in (0, 1, 2):
        raise ValueError("it has no three reasons with the index of the right one")
    return Question(
        id=pair.id,
        visuals=tuple(map(name_of, pair.visuals)),
        text=INSTRUCTION.format(statement=pair.statement),
        options=pair.reasons,
        task=pair.dataset,
        answer=pair.reasons[pair.reason],
        categories=(pair.family,) if pair.family else (),
    )


DATASET = PairDataset("raiv-reasons", reason_question, only_reasons=True)
