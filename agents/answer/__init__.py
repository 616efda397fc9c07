"""The answer graph (VideoEspresso, section 4).

Its nodes: sample -> caption -> select -> evidence -> sufficient -> answer (-> judge).

One node per file, each an async function from state and context to an update of the state; `graph`
connects them, `state` and `context` are what they work on.
"""
