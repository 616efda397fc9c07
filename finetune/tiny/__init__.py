"""The embedded models: a Qwen2-VL that captions, gathers evidence and answers, and a Qwen2 that selects frames, made from scratch.

`config` says how, `build` makes tokenizer and random weights, `data` draws batches from the world's train split, `forward` is the
training pass, `train` the run.
"""
