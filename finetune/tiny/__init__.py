"""The embedded models, made from scratch: a Qwen2-VL that captions, gathers evidence and answers, a Qwen2 that selects frames.

`config` says how, `build` makes tokenizer and random weights, `data` draws batches from the world's train split, `forward` is the
training pass, `train` the run.
"""
