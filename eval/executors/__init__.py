"""Executors run samples: `local` in this process, `ray` on the workers of a cluster."""
