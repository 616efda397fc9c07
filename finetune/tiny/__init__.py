"""Training of the embedded tiny models, from a Qwen2-VL to a question writer and a verifier.

`config` defines the YAML configuration, `build` makes tokenizer and random weights, `data`,
`judgements`, `writing` and `clip` generate batches from the world's train split, `forward` is the
training forward pass, and `train` runs the training.
"""
