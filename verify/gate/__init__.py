"""What reviewers and CI ask: does every candidate of a pull request deserve its verdict?

`run` is the order of events, `changes` finds what to look at, `judging` runs a judge that the pull request
cannot have changed, `folders`, `reproduce` and `duplicates` check what no judge of one source can see, and
`text`, `junit`, `sarif`, `summary` and `annotations` say it to people and machines. `refresh` is the other
direction: new rules, so new verdicts.
"""
