"""All that imports lm-eval, which takes seconds: the adapter, the tasks, and the command over them."""

from __future__ import annotations

import math
import statistics
from types import SimpleNamespace
from typing import Any

import pytest

from harness.compose.corpus import sections
from harness.compose.evaluation.byte_codec import START
from harness.compose.evaluation.items import make_items
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluation.scripted import Bigram, Counter
from tests.harness.compose.evaluation.tiny import tiny_model

pytest.importorskip("lm_eval", reason="lm-eval is optional")

from lm_eval.utils import get_rolling_token_windows

from harness.compose.evaluation.evaluate import TASKS, evaluate, open_tasks
from harness.compose.evaluation.lm_eval_adapter import ByteLM, pieces
from harness.compose.evaluation.scores import Evaluation, Score

TASK_NAMES = ("pydoc_bits_per_byte", "pydoc_continuation")


def asked(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=args) for args in arguments]


def by_hand(model: Bigram, context: str, continuation: str) -> float:
    ids = [START, *(context + continuation).encode()]
    first = len(ids) - len(continuation.encode())
    return sum(model.logprob(ids[at - 1], ids[at]) for at in range(first, len(ids)))


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 63, 64])
@pytest.mark.parametrize("window", [1, 3, 8])
def test_rolling_pieces_are_those_of_lm_eval(count: int, window: int) -> None:
    ids = list(range(count))
    theirs = get_rolling_token_windows(ids, prefix_token=START, max_seq_len=window, context_len=1)
    ours = [
        (list(piece.inputs), list(piece.targets)) for piece in pieces([START, *ids], count, window=window)
    ]
    assert ours == list(theirs)


def test_one_piece_has_all_the_context_that_fits() -> None:
    (piece,) = pieces(range(10), 3, window=6)
    assert (piece.inputs, piece.targets) == ((3, 4, 5, 6, 7, 8), (7, 8, 9))


@pytest.mark.parametrize("window", [4, 256])
@pytest.mark.parametrize("batch", [1, 3])
def test_likelihoods_are_those_worked_out_by_hand(window: int, batch: int) -> None:
    model = Bigram()
    pairs = [("", "a"), ("context", " and more"), ("naïve", "→漢"), ("x" * 300, "y" * 40), ("abc", "")]
    found = ByteLM(model, window=window, batch=batch).loglikelihood(asked(*pairs))
    assert [logprob for logprob, _ in found] == pytest.approx([by_hand(model, *pair) for pair in pairs])


def test_greedy_means_every_byte_is_the_most_likely() -> None:
    model = Bigram()
    one = chr(next(b for b in range(128) if model.best(b) < 128))
    likely = chr(model.best(ord(one)))
    other = "a" if likely != "a" else "b"
    found = ByteLM(model, window=8).loglikelihood(asked((one, likely), (one, other)))
    assert [greedy for _, greedy in found] == [True, False]


@pytest.mark.parametrize("window", [5, 64])
def test_a_rolling_likelihood_predicts_every_byte_once(window: int) -> None:
    model = Bigram()
    texts = ["", "a", "héllo wörld " * 9]
    found = ByteLM(model, window=window).loglikelihood_rolling(asked(*((text,) for text in texts)))
    assert found == pytest.approx([by_hand(model, "", text) for text in texts])


def test_no_row_is_longer_than_the_window() -> None:
    model = Counter()
    lm = ByteLM(model, window=7)
    lm.loglikelihood(asked(("c" * 50, "d" * 20)))
    lm.loglikelihood_rolling(asked(("e" * 50,)))
    lm.generate_until(asked(("f" * 50, {"max_gen_toks": 3})))
    assert model.longest == 7


def test_neighbours_in_a_batch_change_nothing() -> None:
    model = tiny_model()
    pairs = [("abc", "def"), ("a long context of a neighbour", " and its end"), ("", "z")]
    together = ByteLM(model, window=64, batch=3).loglikelihood(asked(*pairs))
    alone = [ByteLM(model, window=64).loglikelihood(asked(pair))[0] for pair in pairs]
    assert [logprob for logprob, _ in together] == pytest.approx([logprob for logprob, _ in alone], abs=1e-4)


def test_generation_goes_on_from_the_context_to_its_limit() -> None:
    lm = ByteLM(Counter(), window=256)
    context = "x" * 65
    assert lm.generate_until(asked((context, {"until": [], "max_gen_toks": 5}))) == ["ABCDE"]


def test_generation_ends_before_the_first_stop_sequence_each_text_by_itself() -> None:
    lm = ByteLM(Counter(), window=256, batch=2)
    requests = asked(
        ("x" * 65, {"until": ["EF", "D"], "max_gen_toks": 20}),
        ("x" * 66, {"until": "EF", "max_gen_toks": 20}),
        ("x" * 70, {"until": ["nowhere"], "max_gen_toks": 2}),
    )
    assert lm.generate_until(requests) == ["ABC", "BCD", "FG"]


def test_sampling_is_refused() -> None:
    with pytest.raises(HarnessError, match="expected greedy decoding"):
        ByteLM(Counter(), window=8).generate_until(asked(("x", {"do_sample": True, "temperature": 1.0})))


@pytest.fixture(scope="module")
def bigram() -> tuple[Bigram, Evaluation]:
    model = Bigram()
    return model, evaluate(model, TASK_NAMES, open_tasks(TASK_NAMES), window=128)


def score(evaluation: Evaluation, metric: str) -> Score:
    (found,) = [score for score in evaluation.scores if score.metric == metric]
    return found


def test_bits_per_byte_are_those_of_the_held_out_sections(bigram: tuple[Bigram, Evaluation]) -> None:
    model, evaluation = bigram
    found = score(evaluation, "bits_per_byte")
    texts = [section.text for section in sections("final")]
    bits = [-by_hand(model, "", text) / math.log(2) for text in texts]
    size = sum(len(text.encode()) for text in texts)
    assert found.estimate.value == pytest.approx(sum(bits) / size)
    assert found.items == len(texts)
    assert found.estimate.stderr is not None
    assert not found.higher_is_better
    assert f"{found.estimate.stderr:.4f}" in evaluation.table


def test_accuracy_is_that_of_the_likeliest_choice_with_the_standard_error_of_a_mean(
    bigram: tuple[Bigram, Evaluation],
) -> None:
    model, evaluation = bigram
    found = score(evaluation, "acc")
    right = []
    for item in make_items(sections("final")):
        likelihoods = [by_hand(model, item.context, choice) for choice in item.choices]
        right.append(float(likelihoods.index(max(likelihoods)) == item.answer))
    assert found.per_item == tuple((value, 1.0) for value in right)
    assert found.estimate.value == pytest.approx(statistics.mean(right))
    assert found.estimate.stderr == pytest.approx(statistics.stdev(right) / math.sqrt(len(right)))
    assert found.chance == 0.25
    assert found.higher_is_better


def test_every_task_file_is_a_task_of_its_name() -> None:
    assert sorted(path.stem for path in TASKS.glob("*.yaml")) == sorted(TASK_NAMES)
    assert sorted(open_tasks(TASK_NAMES).all_tasks) == sorted(TASK_NAMES)


def test_no_task_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match=r"got none.*pydoc_bits_per_byte"):
        open_tasks(())


def test_data_that_cannot_be_had_stops_before_any_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: object) -> None:
        raise ConnectionError("hub unreachable\nmore lines")

    monkeypatch.setattr("harness.compose.evaluation.items._dataset", lambda _: unreachable())
    with pytest.raises(HarnessError, match=r"got ConnectionError: hub unreachable\. Check the network"):
        open_tasks(TASK_NAMES)
