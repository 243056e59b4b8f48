"""`nox -s live_llm`: the design loop against a real language model on this machine's processor.

The model is far too small to write a mechanism. That is the point: whatever it answers, nothing may pass,
every refusal has a named reason, no answer is lost, and a replay of the answers tells the same. Exits 1
when one of these does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.endings import INTERRUPTED
from harness.errors import HarnessError, WrongUsage
from tests.live_llm.checking import Row, failures, rows, table
from tests.live_llm.children import OFFLINE, finished, served
from tests.live_llm.model import NAME
from tests.live_llm.runs import Asked, answers_file, ask, recorded, replay


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.live_llm", description=__doc__)
    parser.add_argument("--budget", type=int, default=4, help="proposals, of at most two answers each")
    parser.add_argument("--max-tokens", type=int, default=200, help="tokens of an answer at most")
    parser.add_argument("--checkpoint", type=Path, help="folder of a checkpoint with a chat template")
    parser.add_argument(
        "--model-folder",
        type=Path,
        default=Path("runs") / "models",
        help="where the default model is kept, 1.1 GB (default: runs/models)",
    )
    parser.add_argument(
        "--json", type=Path, help="also write one JSON document, answers in full, to this file"
    )
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def run(options: argparse.Namespace) -> int:
    """Prepare, serve, ask, replay, check. Raises HarnessError where there is no model to ask."""
    checkpoint = _checkpoint(options.checkpoint, options.model_folder)
    asked = Asked(model=checkpoint.name, budget=options.budget, max_tokens=options.max_tokens)
    most = 2 * asked.budget  # a second one where the first is unusable
    print(f"asking {asked.model} for at most {most} answers, each may take minutes", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        with served(checkpoint, Path(folder) / "server.log") as url:
            found, failed = checked(asked, Path(folder), url)
        seconds = time.monotonic() - started
    print("\n".join(table(found)), end="\n\n")
    for failure in failed:
        print(f"DOES NOT HOLD: {failure}")
    summary = (
        f"{asked.model}: {len(found)} proposals from {sum(len(row.finish) for row in found)} answers in "
        f"{seconds:.0f} s; "
        + ("a check does not hold" if failed else "nothing passed, every reason is named")
    )
    print(summary)
    if options.json:
        document = {
            "model": asked.model,
            "holds": not failed,
            "failures": failed,
            "proposals": [row.to_json() for row in found],
            "seconds": round(seconds, 1),
            "summary": summary,
        }
        options.json.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return int(bool(failed))


def checked(asked: Asked, folder: Path, url: str) -> tuple[list[Row], list[str]]:
    """Run the loop against the server at `url`, replay its answers, and check both."""
    record = ask(asked, folder / "asked", url)
    lines = recorded(answers_file(folder / "asked"))
    again = replay(asked, folder / "replayed", answers_file(folder / "asked"))
    return rows(record, lines), list(failures(asked, record, lines, again))


def _checkpoint(named: Path | None, models: Path) -> Path:
    """The folder to serve: the one that was named, or the default model, which is made where it is not
    there.
    """
    if named is None:
        if finished(["-m", "tests.live_llm.model", str(models)], OFFLINE) != 0:
            raise HarnessError(
                "expected the default model, got the error above. Run this in the environment of "
                "`nox -s live_llm`, or name a --checkpoint."
            )
        return (models / NAME).absolute()
    if not (named / "config.json").is_file():
        raise WrongUsage(f"--checkpoint: expected a folder with config.json and weights, got {named}")
    settings = named / "tokenizer_config.json"
    has_template = (named / "chat_template.jinja").is_file() or (
        settings.is_file() and "chat_template" in json.loads(settings.read_text(encoding="utf-8"))
    )
    if not has_template:
        raise WrongUsage(
            f"--checkpoint: expected a chat template in {named}, got none. Add a chat_template.jinja."
        )
    return named.absolute()


if __name__ == "__main__":
    sys.exit(main())
