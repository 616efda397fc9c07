"""Measure how reliable a judge is, on answers of known quality.

`perturb` and `wordings` make the answers and `cases` collects them. `metrics`, `pairwise` and
`human_preferences` compute the findings, `audit` runs everything, and `report` shows the result.
"""
