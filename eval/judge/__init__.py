"""Judge the answers of a run (VideoEspresso, Table 2): `run` scores them, `results` aggregates, `budget` limits the cost."""
