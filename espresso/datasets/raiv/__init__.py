"""RAIV: reasoning across images and videos, balanced pairs with template statements and reasons.

Sadhu and Nevatia, "Leveraging Task-Specific Pre-Training to Reason across Images and Videos"; the
sections named in this package are the paper's. A pair has two visuals (two images, an image and a
video, or two videos) and a statement that is true or false.

Data flow: `world`, `imsitu` and `vidsitu` read annotations to `Situation` records (`situations`):
verb, roles and objects of one visual. `pairs.build` samples claims (`statements`) with a true and a
false pair each, and yields `RaivPair` records; `check` verifies a written file. `edited` builds
pairs of InstructPix2Pix images, which have no situations, or of edited images of the world
(`world_edits`). `contrast` chooses what a model writes statements about (`agents.raiv_write`).
`questions` and `reasons` are the datasets of `espresso eval run`, `media` the visuals as files, and
`examples` the training examples of an LVLM.

Guarantees, which `check` tests on the whole file:
- Every statement is true as often as false in each split; in val and test it is used exactly twice.
  A guess from the text alone is right in half of the cases.
- No file is in two splits. Situations keep the split of their source; VidSitu's annotated
  validation videos are divided into val and test.
- The splits are 7:1:2. If one of them runs out of new statements, all get fewer pairs.
- The three reasons of a false statement exclude each other, and each is right equally often.

Limits: an annotation says what is there, not what is absent, so a statement about an object that
the annotators did not mention can be wrong; nouns that only a minority of them mentions are not
used. Nouns are compared as text: a "man" is not a "person". Very common objects, which are mostly
of this kind, are not used as objects (`pairs.COMMON`).
"""

from espresso.datasets.raiv.check import PairCheck, check, read_pairs
from espresso.datasets.raiv.pairs import Built, RaivPair, build
from espresso.datasets.raiv.situations import LoadedSituations, Situation, VisualReference
from espresso.datasets.raiv.statements import Claim, Kind, is_true, reasons, state, way

__all__ = [
    "Built", "Claim", "Kind", "LoadedSituations", "PairCheck", "RaivPair", "Situation", "VisualReference",
    "build", "check", "is_true", "read_pairs", "reasons", "state", "way",
]  # fmt: skip
