from __future__ import annotations

from collections import Counter

from harness.chance import generator, pick, pick_weighted


def test_the_same_labels_give_the_same_draws() -> None:
    assert [generator(1, "a", 2).randrange(1000) for _ in range(3)] == [
        generator(1, "a", 2).randrange(1000)
    ] * 3
    assert generator(1, "a", 2).random() != generator(1, "a2").random()


def test_draws_follow_the_weights() -> None:
    rng = generator(0, "weights")
    counts = Counter(pick_weighted(rng, [(1, "rare"), (0, "never"), (9, "often")]) for _ in range(1000))
    assert counts["never"] == 0
    assert 50 < counts["rare"] < 150


def test_every_option_is_drawn() -> None:
    rng = generator(0, "pick")
    assert {pick(rng, "abc") for _ in range(60)} == set("abc")
