"""Speed and cost of Espresso: one file per benchmark, run as `python -m benchmarks.NAME`.

Benchmarks print their results and assert nothing.
"""
