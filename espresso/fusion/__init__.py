"""The fusion classifiers: two encoders, cross-attention between them, and a head.

`FusionModel` encodes and relates a text and a visual, `FusionForPairs` classifies a text about two
visuals (Sadhu and Nevatia, "Leveraging Task-Specific Pre-Training to Reason across Images and
Videos", section 3.2), `puzzles.PuzzleClassifier` solves puzzles of one picture. They are
`PreTrainedModel`s: `save_pretrained` and `from_pretrained` work as usual, and a model with another
head or another fusion starts from the weights that they share.

Differences from the paper on pairs: each frame is encoded on its own before time and ID embeddings
are added (the paper adds them to the patches), so any image encoder of transformers can be used;
the visual side is pooled by its mean.
"""
