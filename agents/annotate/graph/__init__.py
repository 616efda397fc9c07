"""The construction graph: `build` connects the nodes, `state` and `replies` are its records."""
