"""Measure how reliable a judge is, on answers of known quality: `cases` makes them, `metrics` scores the judge, `report` prints."""
