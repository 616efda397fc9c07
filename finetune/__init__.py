"""Training: a reasoner in two LoRA stages, and the models that are trained from scratch.

`config` reads the YAML files in `configs/`, sorted by the package that uses them; each starts with
the command that runs it. `lora` trains the two stages, evidence and answer; `provenance` records
how an adapter was trained; `tiny` trains the tiny models, `fusion` classifiers of visuals and text,
and `selector` a ranking head; `frames` and `puzzle_pictures` are data of several of them; `install`
copies a trained model or adapter into a profile.
"""
