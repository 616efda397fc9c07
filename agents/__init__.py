"""The LangGraph agents of videoespresso: from a question to evidence, answer and verdict.

`session` holds a profile, its models and the cache; `answer` is the graph, one node per file; `ask`
and `batch` are its entry points; `judge` scores answers; `trace` records what the nodes did.
"""
