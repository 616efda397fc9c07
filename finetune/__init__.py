"""Training of a reasoner in two LoRA stages, and of the embedded tiny models from scratch.

`config` reads the YAML files in `configs/`, which start with the command that runs them. `lora`
trains the two stages, evidence and answer; `provenance` records how an adapter was trained; `tiny`
trains the tiny models; `install` copies a trained model or adapter into a profile.
"""
