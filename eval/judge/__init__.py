"""Judge the answers of a run (VideoEspresso, Table 2).

`run` scores the answers, `results` reads and aggregates the verdicts, `budget` limits the cost.
"""
