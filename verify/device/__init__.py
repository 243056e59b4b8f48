"""Launch plans on a real device: run, compared and timed. `clock`, `facts`, `floor` and `bench` load no
torch: they belong to the judge; the rest runs in workers.
"""
