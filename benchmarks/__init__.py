"""Speed and cost, printed and never asserted: one file a benchmark, each run as `python -m benchmarks.NAME`."""
