"""The answer graph (VideoEspresso, section 4): sample -> caption -> select -> evidence -> sufficient -> answer.

One node per file, each an async function from state and context to an update of the state; `graph` wires them.
"""
