"""`nox -s crash`: a run with recorded answers, killed at random moments, ends as if it had not been.

answers.py    a model that writes right, wrong, cheating and broken files
killing.py    the run, killed and gone on with, and what differs
__main__.py   the table
"""
