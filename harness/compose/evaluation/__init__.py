"""Trained compositions that others can evaluate: saved folders, and lm-evaluation-harness over them.

`corpus` is the text, `pretrain` learns it, `saved` keeps the model, `items` makes the tasks' items,
`lm_eval_adapter` answers lm-eval's requests, `evaluate` runs it, `comparison` sets models side by side.
"""
