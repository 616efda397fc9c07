"""Train the fusion classifiers: RAIV's of pairs of visuals, and that of SMART-101's puzzles.

Sadhu and Nevatia, "Leveraging Task-Specific Pre-Training to Reason across Images and Videos",
sections 3.2 and 4. The model is `espresso.fusion`; `espresso finetune fusion STAGE CONFIG` trains:

- `pretrain`: single images with captions; masked words, whether image and caption match, and
  which words an image shows (`pretraining`). Named encoders and backbones have seen such data
  already and skip it.
- `tsp`: statements about pairs that are mined from captioned images and videos while the training
  runs (`rows.MinedBatches`), so no pair is stored and each epoch has other pairs. Roles come from
  the world's annotations, or from a parse of real captions (`captions`).
- `pairs`: the pairs of a file that `espresso raiv build` wrote, or of the world; statements, or
  reasons of false statements.
- `puzzles`: the classifier of one picture and one question (arXiv:2406.05318), for one of the four
  splits of SMART-101 (`puzzles`). Its towers can be pre-trained on pictures of generated puzzles,
  of which is known what is drawn where (`finetune.puzzle_pictures`): marks and values at their
  places, and values at the names of things in questions (`puzzle_pretraining`). Frozen towers
  encode each picture and each question once, and the studies keep these features in memory for all
  classifiers with the same towers: that makes some fifty trainings possible on a CPU.

A stage starts from the stage before that the configuration has. Frames are rendered or decoded when
a batch needs them (`finetune.frames`); nothing is written but checkpoints and the model. `study`
and `puzzle_study` compare classifiers; `studies` is what they share.
"""
