"""The gate, from a checkout to a report. Nothing in the checkout is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import verify
from verify.findings import Finding
from verify.gate.changes import WATCHED, Changes, Subject, find_changes, is_rule
from verify.gate.duplicates import Traits, find_duplicates, known_traits, traits_of_candidate
from verify.gate.folders import can_be_judged, check_append_only, check_layout, check_name
from verify.gate.git import Repository
from verify.gate.judging import (
    JudgeFolder,
    Question,
    Runner,
    ask_all,
    can_redraw,
    is_usable,
    judge_from_disk,
    judge_from_files,
)
from verify.gate.records import GateReport, Judged, Located, Report
from verify.gate.reproduce import check_verdict
from verify.gate.words import one_line
from verify.judge.verdict import TRITON_PIN, installed_triton
from verify.show import skeleton_diff
from verify.source.static import Mechanism, check_static


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the caller chose. `plan_seed` (not 0) is the root of the fresh plan, `jobs` the processes at a
    time.
    """

    folder: Path
    base: str
    plan_seed: int
    jobs: int = 1


@dataclass(frozen=True, kw_only=True)
class _Judges:
    """`decides` is the judge whose verdicts are compared with the committed ones; `base` is asked about new
    candidates too where the pull request brings its own rules; `redraws` draws the fresh plan.
    """

    decides: JudgeFolder
    base: JudgeFolder | None
    redraws: JudgeFolder
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """Answers by file."""

    verdict: Mapping[str, Judged]
    fresh: Mapping[str, Judged]
    base: Mapping[str, Judged]


def run_gate(settings: Settings, runner: Runner) -> GateReport:
    """Look at everything that changed since the merge base.

    Raises WrongUsage for what this checkout cannot answer, InfrastructureError where a judge cannot work.
    """
    repository = Repository.around(settings.folder)
    tip = repository.commit(settings.base)
    merge_base = repository.merge_base(tip)
    base_tree = repository.tree(merge_base, *WATCHED)
    tip_tree = base_tree if tip == merge_base else repository.tree(tip, *WATCHED)
    changes = find_changes(repository, merge_base, base_tree)
    report = GateReport(
        base=settings.base,
        merge_base=merge_base,
        plan_seed=settings.plan_seed,
        judges=(),
        reports=(),
        strays=tuple(map(_stray, changes.strays)),
        notes=(*_dirty(changes), *_behind(base_tree, tip_tree)),
    )
    if not changes.subjects:
        return report
    with ExitStack() as stack:
        judges = _judges(stack, repository.root, changes, base_tree, merge_base)
        answers = _ask(runner, repository.root, changes, judges, settings)
        inspector = _Inspector(
            root=repository.root, judges=judges, answers=answers, tip_tree=tip_tree, changes=changes
        )
        reports = inspector.reports()
    names = [judges.decides.name, *([judges.base.name] if judges.base else [])]
    fresh = (
        f"fresh plan seed {settings.plan_seed}, drawn by {judges.redraws.name}; replay it with "
        f"`python -m verify gate --base {one_line(settings.base)} --seed {settings.plan_seed}`"
    )
    notes = (*report.notes, *judges.notes, *_triton_note(), fresh)
    return replace(report, judges=tuple(names), reports=tuple(reports), notes=notes)


def _judges(
    stack: ExitStack, root: Path, changes: Changes, base_tree: Mapping[str, bytes], merge_base: str
) -> _Judges:
    """Who judges, and what to say about it."""
    notes = []
    base = None
    packages = {path: data for path, data in base_tree.items() if path.startswith(("verify/", "templates/"))}
    if is_usable(packages):
        base = stack.enter_context(
            judge_from_files(packages, f"the judge of the merge base {merge_base[:12]}")
        )
    else:
        notes.append(
            f"the merge base {merge_base[:12]} has no judge that can be run; the present one decided"
        )
    decides = base
    if decides is None or changes.rules_changed:
        decides = stack.enter_context(_present_judge(root))
    running = Path(verify.__file__).resolve().parent
    if changes.rules_changed and base is not None:
        notes.append(
            f"verify/ or templates/ changed: {decides.name} judged every candidate and every skeleton, and "
            f"decides what verdict.json must say; new sources must pass {base.name} as well"
        )
        if running.is_relative_to(root.resolve()):
            notes.append(
                "the gate that ran is this checkout's own code; in CI, install the base branch and run "
                "`python -P -m verify gate`, so that a pull request cannot change its gate"
            )
    redraws = decides
    if not can_redraw(redraws):
        redraws = stack.enter_context(judge_from_disk(running.parent, "the installed judge"))
        notes.append(f"{decides.name} cannot draw a fresh plan; {redraws.name} did")
    return _Judges(
        decides=decides, base=base if decides is not base else None, redraws=redraws, notes=tuple(notes)
    )


def _present_judge(root: Path) -> AbstractContextManager[JudgeFolder]:
    if (root / "verify" / "judge" / "judge.py").is_file():
        return judge_from_disk(root, "the judge of this checkout")
    return judge_from_disk(Path(verify.__file__).resolve().parents[1], "the installed judge")


def _ask(runner: Runner, root: Path, changes: Changes, judges: _Judges, settings: Settings) -> _Answers:
    """Put every question at once: the verdicts, the fresh plan, and the base's opinion on new sources."""
    files = tuple(subject.mechanism for subject in changes.subjects if can_be_judged(root, subject))
    new = tuple(
        subject.mechanism
        for subject in changes.subjects
        if subject.kind == "candidate" and subject.is_new_source and subject.mechanism in files
    )
    questions = [
        Question(judge=judges.decides, files=files),
        Question(judge=judges.redraws, files=files, plan_seed=settings.plan_seed),
    ]
    if judges.base is not None:
        questions.append(Question(judge=judges.base, files=new))
    answers = [
        {one.path: one for one in answer} for answer in ask_all(runner, root, questions, settings.jobs)
    ]
    return _Answers(verdict=answers[0], fresh=answers[1], base=answers[2] if len(answers) > 2 else {})


@dataclass(frozen=True, kw_only=True)
class _Inspector:
    """Puts together what judges, folders and neighbours say about each subject."""

    root: Path
    judges: _Judges
    answers: _Answers
    tip_tree: Mapping[str, bytes]
    changes: Changes

    def reports(self) -> list[Report]:
        mechanisms = {subject.path: self._mechanism(subject) for subject in self.changes.subjects}
        duplicates = self._duplicates({path: found[0] for path, found in mechanisms.items()})
        return [
            self._report(subject, *mechanisms[subject.path], duplicates) for subject in self.changes.subjects
        ]

    def _mechanism(self, subject: Subject) -> tuple[Mechanism | None, list[Finding]]:
        """The mechanism, where its text passes, and whether it is in canonical form."""
        if not can_be_judged(self.root, subject):
            return None, []
        source = (self.root / subject.mechanism).read_bytes()
        templates = self.judges.decides.root / "templates"
        strict = check_static(source, path=subject.mechanism, templates=templates, require_canonical=True)
        form = [one for one in strict.findings if one.rule == "LCK-NOT-CANONICAL"]
        if not form:
            return strict.mechanism, []
        return check_static(source, path=subject.mechanism, templates=templates).mechanism, form

    def _duplicates(self, mechanisms: Mapping[str, Mechanism | None]) -> dict[str, list[Located]]:
        new: list[Traits] = []
        for subject in self.changes.subjects:
            mechanism = mechanisms[subject.path]
            judged = self.answers.verdict.get(subject.mechanism)
            if subject.kind == "candidate" and subject.is_new_source and mechanism and judged:
                new.append(traits_of_candidate(subject.path, mechanism.source, judged))
        found: dict[str, list[Located]] = {}
        for located in find_duplicates(new, known_traits(self.tip_tree)):
            found.setdefault(located.path, []).append(located)
        return found

    def _report(
        self,
        subject: Subject,
        mechanism: Mechanism | None,
        form: Sequence[Finding],
        duplicates: Mapping[str, list[Located]],
    ) -> Report:
        path = subject.mechanism
        found = check_append_only(self.root, subject, self.tip_tree, others=self.changes.subjects)
        if subject.kind == "candidate" and subject.change != "removed":
            found += [*check_layout(self.root, subject), *check_name(subject, mechanism)]
        found += [Located(path=path, finding=finding) for finding in form]
        found += duplicates.get(path, [])
        judged = self.answers.verdict.get(path)
        if judged is None:
            return Report(
                path=subject.path, kind=subject.kind, change=subject.change, findings=_sorted(found)
            )
        if subject.kind == "candidate":
            found += self._verdict(subject, judged)
        return self._judged_report(subject, mechanism, judged, found)

    def _verdict(self, subject: Subject, judged: Judged) -> list[Located]:
        file = f"{subject.path}/verdict.json"
        full = self.root / file
        if file not in subject.files or full.is_symlink() or not full.is_file():
            return []  # check_layout says so
        findings = check_verdict(full.read_bytes(), judged, without_cmp=_other_triton())
        return [Located(path=file, finding=finding) for finding in findings]

    def _judged_report(
        self, subject: Subject, mechanism: Mechanism | None, judged: Judged, found: list[Located]
    ) -> Report:
        path = subject.mechanism
        fresh, base = self.answers.fresh[path], self.answers.base.get(path)
        opinions = [("judge", _without_other_compiler(judged.findings))]
        notes = []
        if fresh.findings and not judged.findings:
            opinions.append(("fresh plan", fresh.findings))
        if base is not None and base.findings and not judged.findings:
            opinions.append(("the base's judge", _without_other_compiler(base.findings)))
            notes.append(
                "the base's judge refuses what this pull request's own admits: let the change of rules "
                "be merged first, then propose the candidate"
            )
        found += [Located(path=path, finding=one, by=by) for by, findings in opinions for one in findings]
        if judged.admission == "rejected" and not judged.findings:
            message = (
                "expected an admission, got a rejection without a reason. This is a defect of the judge."
            )
            found.append(Located(path=path, finding=Finding(rule="ADM-NOT-ADMITTED", message=message)))
        stages = judged.stages
        if _other_triton():
            stages |= {"CMP": "skip", "ADM": "skip"}
        if any(located.finding.stage == "ADM" for located in found):
            stages["ADM"] = "fail"
        return Report(
            path=subject.path,
            kind=subject.kind,
            change=subject.change,
            findings=_sorted(found),
            admission=judged.admission,
            stages=stages,
            fresh={
                stage: status
                for stage, status in fresh.stages.items()
                if stage in ("CON", "NUM", "GRD", "MEM")
            },
            counterexamples=judged.counterexamples or fresh.counterexamples,
            diff=tuple(skeleton_diff(mechanism, self.judges.decides.root / "templates")) if mechanism else (),
            notes=tuple(notes),
            timed_out=judged.timed_out or fresh.timed_out or (base is not None and base.timed_out),
            skipped=_other_triton() or judged.admission == "incomplete",
        )


def _sorted(found: Sequence[Located]) -> tuple[Located, ...]:
    return tuple(sorted(set(found), key=Located.sort_key))


def _stray(path: str) -> Located:
    message = (
        "expected only candidates/<family>/<slug>-<id>/ under candidates/, got a file elsewhere. Remove it."
    )
    return Located(path=path, finding=Finding(rule="ADM-LAYOUT", message=message))


def _dirty(changes: Changes) -> tuple[str, ...]:
    if not changes.dirty:
        return ()
    shown = ", ".join(one_line(path) for path in changes.dirty[:5])
    more = f" and {len(changes.dirty) - 5} more" if len(changes.dirty) > 5 else ""
    return (f"not committed, judged as it is on disk: {shown}{more}",)


def _behind(base_tree: Mapping[str, bytes], tip_tree: Mapping[str, bytes]) -> tuple[str, ...]:
    """Rules that the base branch changed after this branch left it do not judge here."""
    if _rules(base_tree) == _rules(tip_tree):
        return ()
    note = (
        "the base branch has changed verify/ or templates/ since this branch left it, and its newer rules "
        "did not judge here: merge the base branch into this one and run the gate again"
    )
    return (note,)


def _rules(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in tree.items() if is_rule(path)}


def _other_triton() -> bool:
    return installed_triton() != TRITON_PIN


def _triton_note() -> tuple[str, ...]:
    if not _other_triton():
        return ()
    note = (
        f"expected Triton {TRITON_PIN}, the one that CMP of these rules speaks about, got "
        f"{installed_triton()}: CMP was compared as skipped"
    )
    return (note,)


def _without_other_compiler(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """What another Triton's compiler says is no evidence for or against."""
    return tuple(one for one in findings if not (_other_triton() and one.stage == "CMP"))
