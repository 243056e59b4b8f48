"""`nox -s policies`: the offline agent under every policy, at equal budget and from paired seeds.

runs.py      the runs, and what each came to
report.py    means with intervals, and differences to the control
__main__.py  the command
"""
