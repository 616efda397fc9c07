"""Train the selector for real captions: a small head over frozen sentence embeddings.

    espresso finetune selector finetune/configs/selector/nextgqa.yaml

`data` embeds the captions and computes features once, `train` fits the ensemble, and
`cross_validate` measures the same training on videos that it has not seen.
"""
