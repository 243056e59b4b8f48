"""Ask the judge about every broken candidate and every repaired one, and write down what it says.

`python -m tests.harness.agents.llm.broken [NAME ...]`: without names, all of them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from harness.engine.judging import open_judge
from harness.engine.pool import Judge, Judged
from harness.engine.state import judged_body
from tests.harness.agents.llm.broken.catalogue import VERDICTS, Broken, candidates, recorded
from verify.judge.verdict import Depth


def body(judge: Judge, source: str, name: str, depth: Depth) -> dict[str, Any]:
    """What a run records of this verdict, without the position that it has there, and of which text."""
    verdict = judge.check(source.encode(), path=f"{name}.py", depth=depth)
    judged = Judged(verdict=verdict, measured=dict(verdict.measured), cpu_seconds=0.0)
    fields = {key: value for key, value in judged_body(0, judged).items() if key != "position"}
    # Through JSON, as it is compared with what was read from there.
    return {"sha256": hashlib.sha256(source.encode()).hexdigest(), "judged": json.loads(json.dumps(fields))}


def asked(judge: Judge, one: Broken) -> dict[str, dict[str, Any]]:
    """What the judge says of a candidate and of its repaired file."""
    return {
        "broken": body(judge, one.source, one.name, one.depth),
        "repaired": body(judge, one.repaired, one.name, one.depth),
    }


def main(names: Sequence[str]) -> int:
    chosen = [one for one in candidates() if not names or one.name in names]
    said = recorded() if VERDICTS.exists() else {}
    with open_judge() as judge:
        for one in chosen:
            print(f"judging {one.name} at depth {one.depth}", file=sys.stderr)
            said[one.name] = asked(judge, one)
            text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
            VERDICTS.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
