"""The judge of AIRA Harness: proves what a sequence-mixing mechanism claims, without trusting its author.

Importing this package loads neither torch nor triton, so its static half (parse, policy, lock, show) runs
anywhere. It reads `templates/`, never imports `harness/`, and never imports a candidate into its own process.
"""
