"""Who proposes mechanisms: one protocol, an offline agent that needs no key, no network and no GPU, and one
that asks a language model.

protocol.py   what an agent is told (`Task`, `Evidence`) and what it hands back (`Proposal`)
identity.py   one name for each text, readable or not
grammar/      the default agent: typed slot alternatives, recombined and mutated through libcst
llm/          asks a language model, or replays what one answered; its package says how

The grammar agent, from the inside out:

1. `trees`: an elementwise function of `x` is a typed tree (the input, constants, named functions, sums and
   products). A tree differentiates itself, so its torch form, its Triton form and its Triton derivative have
   one origin. `functions` is the table of named functions with their numerically stable Triton spellings.
2. `rows`, `scales`, `windows` and `score_mods`: the row-wise slot is `x * h(s)` with a statistic `s` of
   `e(x)` over the row, where `h` and `e` are trees again; the scale is a constant times a power of K; the
   window is a share of T and a number; a score becomes a tree of it, less a tree of the distance times a
   slope of the head.
3. `productions`: well-known contents that a search starts from. They are starting points, not answers:
   nothing here knows which contents are right, or right together with which skeleton.
4. `genome`: what a candidate is made of (skeleton, slot contents, at most one edit of the source), as JSON,
   so a run's store can hold it and a resumed run continues from it.
5. `rewrite` and `edits`: libcst puts slot bodies into a skeleton's source, or changes one spot of one body.
   An edit is blind, so the three forms of a slot may come to disagree; finding that out is the judge's work.
6. `weights`: integers per production, operator and skeleton, replayed from the verdicts' rule ids in proposal
   order. What was admitted becomes likelier, what was rejected less so, and nothing ever falls to zero.
7. `agent`: the operators (draft, crossover, improve, simplify, debug, point) and the loop that avoids
   repeats.

Every choice is `derive(seed, ...)`: the same seed, skeletons and verdicts give the same proposals.
"""
