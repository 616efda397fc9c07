"""Export questions as a task of lmms-eval: `export` writes the folder, `task` holds the files that lmms-eval reads."""
