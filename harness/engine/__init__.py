"""Runs of the search: rounds of proposals, judged by a pool of processes, recorded so that nothing finished
is lost.

settings.py   what a run is, and the run id that follows from it
skeletons.py  the skeletons of a family, read through the judge's static half
pool.py       judge processes, tasks in order, answers as they come
numbers.py    which measured numbers an agent is told
state.py      what has happened, as a replay of the store's events
selection.py  which proposal is a parent, and which clean ones are judged in full
folders.py    admitted candidates as folders, written once
design.py     the rounds
"""
