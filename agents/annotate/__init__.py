"""Dataset construction: from raw videos to questions with core frames, evidence and options.

VideoEspresso builds its data in two steps (section 3, Figure 2). This package is that pipeline as a
LangGraph graph, one run of the graph per video:

    sample -> caption (each frame) -> group -> write (each group) -> filter (each pair) -> evidence
    evidence -> match -> ground (each core frame)
                      -> distract -> check (each distractor)
                                  -> guess

- `sample`, `caption`: 1 to 4 frames per second depending on motion, and a caption of each.
- `group`: frames whose captions say the same become a scene; up to 15 scenes in order are a group
  (`scenes`).
- `write`: questions and answers about a group. `filter` keeps a pair that is consistent with the
  captions, objective and continuous; the others are kept aside with the reason.
- `evidence`: cites the captions that the answer rests on and names the key items. `match` finds the
  scenes of cited captions by embedding, which gives core frames and their times, also those in the
  evidence. A pair that cites what no caption says is rejected.
- `ground`: boxes of the key items in the core frames, kept only if a verifier confirms the label.
- `distract`, `check`, `guess`: three wrong options; none may pass the filter as an answer, and the
  answer must not be known without the video.

**Nothing is paid for twice.** Each task of the graph makes at most one request. Its result is in
the video's SQLite checkpoint before the tasks that follow start, so a killed process repeats only
the requests that had no reply yet. Finished videos are lines of an append-only log, which also
refuses a second process (`run`).

**Files** (`output`). `data.jsonl` holds the questions in the project's own format (`records`):
`espresso finetune evidence` trains on it and `espresso eval run records` evaluates on it.
`data.rejected.jsonl` holds the rejected pairs. `export` divides the questions into splits without
shared videos and writes them as `records`, in VideoEspresso's JSON layout or as a Hugging Face
dataset; `stats` draws the statistics of the paper's Figures 3, 4 and 12; `page` is a page to review
questions on, and its decisions are honoured by `export`.

**Models** are roles of the profile: `captioner`, `writer`, `embedder`, `detector`, `verifier` and,
for `guess`, `reasoner`. Each can be in this process or, except for `verifier`, behind a server.
"""

from agents.annotate.run import AnnotateProgress, AnnotateSummary, annotate

__all__ = ["AnnotateProgress", "AnnotateSummary", "annotate"]
