"""The few questions that the gate asks git. Nothing in the checkout, its index or its configuration is
written.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from verify.errors import InfrastructureError
from verify.gate.words import one_line


class WrongUsage(Exception):
    """The command was asked for something that this checkout does not have: exit code 2."""


class Repository:
    """A git checkout, by the folder at its top."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The checkout that holds `folder`. Raises WrongUsage where there is none."""
        done = _git(folder, "rev-parse", "--show-toplevel")
        if done.returncode != 0:
            raise WrongUsage(
                f"{folder}: expected a git checkout, got: {_last_line(done.stderr)}. Run the gate inside the "
                "checkout of the pull request."
            )
        return cls(Path(os.fsdecode(done.stdout).removesuffix("\n")))

    def commit(self, ref: str) -> str:
        """The commit (40 or 64 hex digits) that `ref` names. Raises WrongUsage, with what to fetch."""
        found = self._resolve(ref)
        if found is not None:
            return found
        remote = f"origin/{ref}"
        hint = (
            f"Did you mean {remote}?"
            if self._resolve(remote) is not None
            else f"Fetch it first: git fetch origin {ref.removeprefix('origin/')}"
        )
        raise WrongUsage(f"--base: expected a commit, branch or tag of this checkout, got {ref!r}. {hint}")

    def merge_base(self, base: str) -> str:
        """The commit at which HEAD left `base` (a commit). Raises WrongUsage where history is cut off."""
        done = self._git("merge-base", base, "HEAD")
        if done.returncode == 0:
            return done.stdout.decode().split()[0]
        if self._text("rev-parse", "--is-shallow-repository").strip() == "true":
            raise WrongUsage(
                "expected the history back to the merge base, got a shallow clone. Run `git fetch "
                "--unshallow`, "
                "or check out with fetch-depth: 0."
            )
        raise WrongUsage(
            f"expected HEAD and {base[:12]} to share a commit, got none. Name the branch that the "
            "pull request "
            "will be merged into."
        )

    def changed(self, since: str, folders: Sequence[str]) -> dict[str, str]:
        """Path -> status (A, M, T, D) of what differs between commit `since` and the files on disk.

        Renames are shown as what they are: something removed, something added.
        """
        listed = self._text(
            *("diff", "--name-status", "--no-renames", "--no-ext-diff", "-z", since, "--", *folders)
        ).split("\0")
        found = {path: status[:1] for status, path in zip(listed[::2], listed[1::2], strict=False)}
        untracked = self._text("ls-files", "--others", "--exclude-standard", "-z", "--", *folders)
        # Staged as deleted and yet on disk: git shows D, and the file is also untracked.
        return found | {path: "M" if path in found else "A" for path in untracked.split("\0") if path}

    def on_disk(self, folder: str) -> list[str]:
        """Paths under `folder` that are tracked, or that `git add` would take, and that exist."""
        listed = self._text("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", folder)
        return sorted({path for path in listed.split("\0") if path and os.path.lexists(self.root / path)})

    def dirty(self, folders: Sequence[str]) -> list[str]:
        """Paths that differ from HEAD: changed, staged or untracked."""
        return sorted(self.changed("HEAD", folders))

    def tree(self, commit: str, *folders: str) -> dict[str, bytes]:
        """Path -> bytes of every regular file under `folders` in a commit; folders it lacks give nothing."""
        present = [
            name for name in folders if self._git("cat-file", "-e", f"{commit}:{name}").returncode == 0
        ]
        if not present:
            return {}
        data = self._git("archive", "--format=tar", commit, "--", *present)
        if data.returncode != 0:
            raise InfrastructureError(f"git archive {commit[:12]}: {_last_line(data.stderr)}")
        with tarfile.open(fileobj=io.BytesIO(data.stdout)) as archive:
            members = [member for member in archive if member.isfile()]
            return {member.name: _content(archive, member) for member in members}

    def _resolve(self, ref: str) -> str | None:
        done = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return _git(self.root, *arguments)

    def _text(self, *arguments: str) -> str:
        done = self._git(*arguments)
        if done.returncode != 0:
            raise InfrastructureError(f"git {arguments[0]}: {_last_line(done.stderr)}")
        return os.fsdecode(done.stdout)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git. Variables such as GIT_DIR, which hooks set, must not point it elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(  # noqa: S603  a fixed program, arguments as a list
            ["git", "-C", str(folder), *arguments],  # noqa: S607  git is where the user's PATH says
            env=environment,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise InfrastructureError("expected git on the PATH, found none. Install git.") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "a regular member has content"
    return file.read()


def _last_line(text: bytes) -> str:
    lines = os.fsdecode(text).strip().splitlines()
    return one_line(lines[-1]) if lines else "no reason given"
