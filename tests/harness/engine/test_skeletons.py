from __future__ import annotations

from pathlib import Path

import pytest

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.grammar.slots import SLOT_KINDS, known_slots
from harness.agents.protocol import Evidence, Task
from harness.engine.skeletons import ALL, families, load_skeletons
from harness.errors import HarnessError, WrongUsage
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import check_static

SLOTS = {
    "linear_state": dict.fromkeys(
        ("head_decay", "normalised", "token_decay", "ungated"), ("feature_map", "key_norm", "scale")
    ),
    "softmax_attention": {
        "biased": ("scale", "score_mod", "window"),
        "bidirectional": ("key_norm", "scale", "window"),
        "gated": ("scale", "window"),
        "plain": ("key_norm", "scale", "window"),
        "sink": ("scale", "window"),
    },
}


@pytest.mark.parametrize("family", SLOTS)
def test_the_slots_of_every_skeleton_are_read_from_its_spec(family: str) -> None:
    skeletons = load_skeletons(family)
    assert {s.short_name: tuple(sorted(s.slots)) for s in skeletons} == SLOTS[family]


@pytest.mark.parametrize("family", SLOTS)
def test_the_grammar_fills_every_slot_of_every_skeleton(family: str) -> None:
    for skeleton in load_skeletons(family):
        assert known_slots(skeleton.slots) == tuple(sorted(skeleton.slots)), skeleton.name


def test_every_kind_of_slot_is_one_of_a_skeleton() -> None:
    slots = {slot for family in families() for s in load_skeletons(family) for slot in s.slots}
    assert slots == set(SLOT_KINDS)


@pytest.mark.parametrize("family", families())
def test_proposals_on_released_skeletons_pass_the_static_stages(family: str) -> None:
    skeletons = load_skeletons(family)
    for seed, skeleton in enumerate(skeletons):
        task = Task(skeletons=(skeleton,), seed=seed)
        proposal = GrammarAgent().propose(task, None, Evidence(position=0))
        result = check_static(proposal.source.encode(), path="candidate.py", require_canonical=True)
        assert result.findings == ()
        assert result.mechanism is not None
        assert result.mechanism.skeleton == skeleton.name


def test_only_the_newest_version_is_searched(tmp_path: Path) -> None:
    for version in ("v1", "v2", "v10", "old"):
        (tmp_path / "family" / version).mkdir(parents=True)
    assert families(tmp_path) == ("family",)
    (tmp_path / "family" / "v10" / "broken.py").write_text("not python (")
    with pytest.raises(HarnessError, match="family/v10/broken"):
        load_skeletons("family", tmp_path)


def test_a_folder_without_versions_is_no_family(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert families(tmp_path) == ()
    assert families(tmp_path / "missing") == ()


def test_free_mechanisms_are_no_family_to_search() -> None:
    assert (DEFAULT_TEMPLATES / "free" / "v1").is_dir()
    assert "free" not in families()
    with pytest.raises(WrongUsage, match="expected one of"):
        load_skeletons("free")


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(WrongUsage, match="Did you mean 'linear_state'"):
        load_skeletons("liner_state")


def test_all_families_are_one_task() -> None:
    names = [skeleton.name for skeleton in load_skeletons("all")]
    assert {name.split("/")[0] for name in names} == set(families())
    assert names == [s.name for family in families() for s in load_skeletons(family)]


def test_free_is_a_family_only_for_an_agent_that_writes_whole_files(tmp_path: Path) -> None:
    folder = tmp_path / "free" / "v1"
    folder.mkdir(parents=True)
    name = "gated_short_convolution.py"
    (folder / name).write_bytes((DEFAULT_TEMPLATES / "free" / "v1" / name).read_bytes())
    for family in ("free", ALL):
        (example,) = load_skeletons(family, tmp_path, free=True)
        assert (example.name, dict(example.slots)) == ("free/v1/gated_short_convolution", {})
    assert load_skeletons(ALL, tmp_path) == ()
    with pytest.raises(WrongUsage):
        load_skeletons("free", tmp_path)
