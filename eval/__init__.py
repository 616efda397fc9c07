"""Benchmarks, runs, metrics: what an answer is worth, measured with one command.

`espresso eval run world --split test --limit 420 --strategy selector` asks a benchmark's questions
(`benches`, one file each), keeps what was answered in a run folder that the same command goes on
with (`run`, `folder`), and prints numbers with their intervals (`metrics`, `stats`). The truth
behind a question is read here alone, and only to score; the one exception says so: the `oracle`
strategy hands the true core frames to the reasoner.
"""
