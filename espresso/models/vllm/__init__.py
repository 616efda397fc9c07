"""vLLM servers for the models of a profile.

`launch` plans, starts and stops them, `memory` assigns GPUs and their memory, `process` is the
process that serves, `worker` adapts vLLM's CPU worker to it.
"""
