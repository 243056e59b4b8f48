"""Composition search: sequences of primitives, admitted mechanisms among them, searched small, built large.

`composition` names a sequence, `primitives` are its letters, `model` builds it, `proxies` tell how good it
is, `search` proposes, `engines` run evaluations, `study` is the loop over all of them, `pipeline` the whole
job. `aggregate`, `retest` and `controls` say what came of a study, `regret` how far searchers and proxies can
be trusted, `evaluation` lets others evaluate a model.
"""
