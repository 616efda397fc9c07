"""The fusion classifier: two encoders, cross-attention between them, and a head for two visuals.

Sadhu and Nevatia, "Leveraging Task-Specific Pre-Training to Reason across Images and Videos",
section 3.2. `FusionModel` encodes and relates a text and a visual, `FusionForPairs` classifies a
text about two visuals. Both are `PreTrainedModel`s: `save_pretrained` and `from_pretrained` work as
usual, and a model with another head or another fusion starts from the weights that they share.

Differences from the paper: each frame is encoded on its own before time and ID embeddings are added
(the paper adds them to the patches), so any image encoder of transformers can be used; the visual
side is pooled by its mean.
"""
