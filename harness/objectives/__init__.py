"""What makes one admitted mechanism better than another: a number per mechanism, the higher the better.

protocol.py      what an objective is told and what it answers
throughput.py    the default: tokens per second at the judge's reference shapes
learnability.py  accuracy on in-context recall after a few hundred steps of training
lines.py         few lines of code
opening.py       an objective by its name

Admission comes first: what was rejected has no score, and at depth full what was not admitted has none.
Scores are computed from what was measured, or measured here; none is read out of a text that a candidate or a
model wrote.
"""
