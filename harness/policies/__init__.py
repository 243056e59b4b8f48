"""How a search goes on: from which earlier proposal the next ones grow, by which operator.

protocol.py      what a policy is told and what it chooses
one_shot.py      the control: drafts that know of nothing before them
at_random.py     the other control: half drafts, half any earlier proposal
by_status.py     the default: an earlier proposal, likelier the further it came
greedy.py        drafts, then the best is improved and broken ones are mended, as AIDE does
evolutionary.py  islands with a MAP-Elites archive each, and migration
cells.py         the archive's cells: state growth x mixing x cost
opening.py       a policy by its name
comparison/      the program behind `nox -s policies`

All are functions of the outcomes of finished rounds, the positions asked for and the seed. They keep nothing,
so a run that was killed goes on as if it had not been.
"""
