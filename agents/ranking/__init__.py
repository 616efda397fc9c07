"""Rank captioned frames by their relevance to a question, and pick core frames among them.

`rank` embeds question and captions and scores each caption by cosine similarity or by a trained
head (`head`), which reads the features of `features`. `pick` trades relevance against coverage.
The select node (`agents.answer.select`) uses both; `finetune.selector` trains the head, and
`eval.selection` measures it on real captions.
"""
