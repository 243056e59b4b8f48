"""When two mechanisms are one."""

from __future__ import annotations

from tests.verify.gate.scratch import CANDIDATES, ROOT, behaviour_named
from verify.gate.duplicates import Traits, find_duplicates, known_traits
from verify.judge.verdict import Verdict


def traits(
    path: str, source: str | None = None, form: str | None = None, results: str | None = None
) -> Traits:
    behaviour = None if results is None else behaviour_named(results)
    return Traits(path=path, source=source, form=form, behaviour=behaviour)


def test_what_is_not_known_is_not_shared() -> None:
    assert find_duplicates([traits("a"), traits("b")], [traits("c")]) == []


def test_the_strongest_reason_is_given() -> None:
    known = [traits("b", results="r"), traits("c", form="f"), traits("d", source="s")]
    (found,) = find_duplicates([traits("a", "s", "f", "r")], known)
    assert found.path == "a/mechanism.py"
    assert "the same source as d" in found.finding.message


def test_of_two_new_twins_the_later_one_is_refused() -> None:
    (found,) = find_duplicates([traits("a", results="r"), traits("b", results="r")], [])
    assert found.path == "b/mechanism.py"
    assert "as a." in found.finding.message


def test_a_candidate_is_no_twin_of_itself() -> None:
    assert find_duplicates([traits("a", "s")], [traits("a", "s")]) == []


def test_every_committed_candidate_is_known_by_all_its_traits() -> None:
    files = [path for folder in CANDIDATES for path in folder.rglob("*") if path.is_file()]
    tree = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    known = known_traits(tree)
    assert [one.path for one in known] == [folder.relative_to(ROOT).as_posix() for folder in CANDIDATES]
    assert all(one.source and one.form and one.behaviour for one in known)
    assert find_duplicates(known, []) == []


def test_skeletons_are_known_by_their_form() -> None:
    paths = sorted((ROOT / "templates").glob("*/v*/*.py"))
    tree = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}
    known = known_traits(tree)
    assert len(known) == len([path for path in paths if path.stem != "__init__"])
    assert len({one.form for one in known}) == len(known)


def test_a_damaged_neighbour_hides_nothing_else() -> None:
    folder = CANDIDATES[0].relative_to(ROOT).as_posix()
    tree = {
        f"{folder}/mechanism.py": (CANDIDATES[0] / "mechanism.py").read_bytes(),
        f"{folder}/verdict.json": b"{",
        f"{folder}/measured/cpu.json": b"\xff",
    }
    (known,) = known_traits(tree)
    assert known.form is not None
    assert known.source is None


def test_the_fields_that_traits_are_read_from_exist() -> None:
    verdict = Verdict.from_bytes((CANDIDATES[0] / "verdict.json").read_bytes())
    assert verdict.source_hash
    assert verdict.behaviour
