from __future__ import annotations

from itertools import permutations

from verify.findings import Finding, in_order


def test_the_order_of_findings_depends_on_nothing_but_what_they_say() -> None:
    """A set of them comes in another order in every process."""
    found = [Finding(rule="GRD-VALUE", message="d_k", where=f"B={size}") for size in (1, 2, 3, 4)]
    found.append(Finding(rule="NUM-OUTPUT", message="output"))
    keys = [finding.sort_key() for finding in found]
    assert len(set(keys)) == len(keys)
    assert {in_order(some) for some in permutations(found)} == {(found[-1], *found[:-1])}
