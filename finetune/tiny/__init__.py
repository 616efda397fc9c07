"""Training of the embedded tiny models: a Qwen2-VL, a captioner, a frame selector and a judge.

`config` defines the YAML configuration, `build` makes tokenizer and random weights, `data` and
`judgements` generate batches from the world's train split, `forward` is the training forward pass,
and `train` runs the training.
"""
