"""Rules of the gate: what is asked of a candidate's folder, its verdict and its place among the others."""

from __future__ import annotations

TEXTS = (
    (
        "ADM-NAME",
        "A folder whose name is not its mechanism's",
        "A candidate lies at candidates/<family>/<slug>-<id>; the id is made from the hash of its source.",
        "The name is how verdicts, searches and reviews refer to exactly one source.",
        "Let `nox -s design` write the folder; do not rename it.",
        "candidates/linear_state/my-idea, expected a name that ends in -bzul5eip",
    ),
    (
        "ADM-EDITED",
        "A released source was changed",
        "mechanism.py of a candidate, and a skeleton, keep their bytes for as long as they exist.",
        "Everything that was said about the old source would now be read as if it were about the new one.",
        "Put the file back, and add the change as a new candidate, or as a new version of the skeleton.",
        "expected the bytes of the base branch, got others from line 46",
    ),
    (
        "ADM-VERDICT",
        "The committed verdict is not the judge's",
        "Judging mechanism.py again at full depth gives verdict.json byte for byte.",
        "A verdict that cannot be reproduced is somebody's opinion.",
        "Never edit it; `python -m verify refresh` writes it anew.",
        "admission: committed admitted, judged rejected",
    ),
    (
        "ADM-LAYOUT",
        "A folder with too much or too little in it",
        "A candidate is exactly mechanism.py, verdict.json and measured/<device>.json, as regular files.",
        "What no rule reads, no reviewer should have to read; and links lead elsewhere.",
        "Remove what does not belong there, restore what is missing.",
        "candidates/linear_state/a-bzul5eip/notes.txt",
    ),
    (
        "ADM-REMOVED",
        "A candidate or skeleton was removed",
        "What the base branch has stays.",
        "Compositions and later searches refer to it; a slot of the past must stay readable.",
        "Put it back.",
        "candidates/linear_state/a-bzul5eip/mechanism.py is gone",
    ),
    (
        "ADM-DUPLICATE",
        "A mechanism that is already there",
        "No two candidates have one source, up to names, or the same results on the judge's fixed inputs.",
        "The same mechanism under two names would be counted, trained and reported twice.",
        "Keep one of them.",
        "the same results as candidates/linear_state/a-bzul5eip",
    ),
)
