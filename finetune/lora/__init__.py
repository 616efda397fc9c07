"""Two-stage LoRA fine-tuning: first evidence, then the answer (VideoEspresso, section 4, Table 8).

`config` defines the configuration, `examples` loads the data, `collate` and `grouping` make
batches, `train` trains an adapter, and `stages` runs one stage from configuration to adapter. For
puzzles, `places` trains the vision tower before the first stage.
`predict` generates evidence with the first stage for the second one, `ablate` compares variants of
the training, and `verify_served` compares the adapters of a server with the trained ones.
"""
