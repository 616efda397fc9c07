"""Logs: `jsonl` is an append-only file with a header, `run_folder` the log of a run."""
