"""The LangGraph agents of videoespresso: one node a file, one graph a file.

Nodes are plain async functions: the state and the run's means go in, an update goes out, nothing else changes. `answer` holds the
graph that answers a question: sample -> caption -> select -> evidence -> sufficient? -> answer. `ask` is its front door.
"""
