"""Names and defaults that the command line and the Python API share.

Importing this module is cheap.
"""

from typing import Literal

Strategy = Literal["selector", "uniform", "all", "blind", "given", "classifier"]
"""How the answer graph finds core frames.

`selector`: a language model selects them by their captions. `uniform`: evenly spaced frames. `all`:
every sampled frame. `blind`: none. `given`: the caller names them. `classifier`: the profile's
classifier answers from evenly spaced frames of its visuals, without evidence.
"""

EvalStrategy = Literal[
    "selector", "uniform", "random", "all", "blind", "ranked", "oracle", "oracle-captions", "oracle-evidence", "classifier"
]
"""How a benchmark run finds core frames.

`selector`, `uniform`, `all`, `blind` and `classifier` are strategies of the answer graph. `random`
draws frames. `ranked` takes the frames with which the reasoner finds the reference most probable.
The oracles use the ground truth: core frames (`oracle`), core frames and evidence
(`oracle-evidence`), or captions (`oracle-captions`).
"""

Protocol = Literal["choice", "written", "open"]
"""How a benchmark run shows options, see `eval.protocols`."""

EvidenceMode = Literal["truth", "predicted", "mix", "none", "joint"]
"""Evidence in the prompts of the second training stage.

`truth` is the ground truth, `predicted` is what the first stage generates, `mix` is half of each.
Two modes train a single stage without a first one, for comparison: `none` learns to answer from the
frames alone; `joint` learns evidence and, given the ground-truth evidence, the answer at once.
"""

ExecutorName = Literal["local", "ray"]
"""Where samples run: in this process, or on the workers of a Ray cluster."""

UNIFORM_FRAMES = 16
"""Frames of `uniform` and `random` if no number is given, as in the paper's baselines."""

FRAME_COUNTS = (2, 4, 8, UNIFORM_FRAMES)
"""Numbers of frames that the selector study compares with."""

JUDGE_SAMPLES = 3
"""Replies that a judge gives for each answer. Odd, so that the median is a score that was given."""

JUDGE_TEMPERATURE = 0.7
"""Sampling temperature of a judge: high enough for its replies to differ where it is unsure."""

AUDIT_QUESTIONS = 40
"""Questions of a judge audit; each gives about 25 answers."""
