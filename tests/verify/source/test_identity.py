from __future__ import annotations

import re

from tests.verify.source.mechanisms import HONEST, SKELETON, changed
from verify.source.identity import fingerprint, short_id, source_hash


def test_the_hash_is_pinned() -> None:
    assert source_hash(b"x = 1\n") == "5f44322f5328f35a60a622230a311fc3c4b5775705cd4ba26b995c939f617a90"


def test_fields_are_length_prefixed() -> None:
    assert source_hash(b"") != source_hash(b"\x00")
    assert len({source_hash(bytes([value])) for value in range(256)}) == 256


def test_short_ids_are_eight_characters_of_base32() -> None:
    assert re.fullmatch(r"[a-z2-7]{8}", short_id(source_hash(HONEST.encode())))
    assert short_id("ff" * 32) == "77777777"
    assert short_id("00" * 32) == "aaaaaaaa"


def test_names_comments_docstrings_and_tuning_do_not_change_the_fingerprint() -> None:
    text = HONEST
    for old, new in [
        ("total", "running"),
        ("columns", "lanes"),
        ("_grid", "_programs"),
        ("v_ptr", "values_ptr"),
        ("BLOCK_V", "WIDTH"),
    ]:
        text = re.sub(rf"\b{old}\b", new, text)
    text = text.replace('"WIDTH"', '"BLOCK_V"').replace('"BLOCK_V": 32', '"BLOCK_V": 16')
    text = changed(
        text,
        "    mask = lanes < V\n    running = tl.load(s_ptr",
        "    mask = lanes < V  # note\n    running = tl.load(s_ptr",
    )
    text = text.replace("Programs along rows and along tiles", "Another text")
    assert text != HONEST
    assert fingerprint(text) == fingerprint(HONEST)


def test_another_computation_has_another_fingerprint() -> None:
    others = [
        changed(HONEST, "        total += v.to(tl.float32)", "        total -= v.to(tl.float32)"),
        changed(
            HONEST,
            "(((i_bh // H) * T + t) * H + i_bh % H) * V\n        v =",
            "(((i_bh // H) * T + t) * H + i_bh // H) * V\n        v =",
        ),
        changed(HONEST, '"causal": True', '"causal": False'),
        changed(HONEST, "        t = T - 1 - step", "        t = T - 2 - step"),
        changed(HONEST, "return d_v, d_initial", "return d_initial, d_v"),
        SKELETON,
    ]
    assert len({fingerprint(text) for text in [HONEST, *others]}) == len(others) + 1


def test_swapped_names_are_another_computation() -> None:
    one = changed(
        HONEST,
        "tl.store(o_ptr + row + columns, total.to(v.dtype)",
        "tl.store(o_ptr + row + columns, v.to(v.dtype)",
    )
    assert fingerprint(one) != fingerprint(HONEST)
