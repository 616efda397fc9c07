"""Training: a reasoner in two stages of LoRA, evidence and answer; the embedded tiny models from scratch (`tiny`).

`config` says what is trained on what, `sources` reads questions to learn from, `data` makes conversations of them, `lora` trains
an adapter, `stages` is one stage from config to adapter, `predict` the evidence in between, `lineage` where an adapter is from,
`checks` whether a server serves it. Recipes are YAML files in `configs/`, each with the command that runs it at its head.
"""
