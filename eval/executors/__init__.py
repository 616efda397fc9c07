"""Executors run the samples of a task: `local` in this process, `ray` on the workers of a Ray cluster."""
