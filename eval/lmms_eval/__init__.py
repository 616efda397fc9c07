"""Export questions to lmms-eval (github.com/EvolvingLMMs-Lab/lmms-eval).

`export` writes a folder of question records and tasks; `task` holds the files that lmms-eval reads.
"""
