"""What developers run: `nox --list`. Most sessions are stages of `.ci/run`: it has their commands, and needs no nox."""

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]


def stage(session: nox.Session) -> None:
    """The stage of this name, in the environment of the session."""
    name, _, _ = session.name.partition("-")  # before the version of Python, where there are several
    session.run("bash", ".ci/run", name, *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Build with warnings as errors; style and types."""
    stage(session)


@nox.session
def tests(session: nox.Session) -> None:
    """Test; arguments go to pytest."""
    stage(session)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, and test the wheel; arguments go to pytest."""
    stage(session)


@nox.session
def serial(session: nox.Session) -> None:
    """Build without OpenMP and call every loss."""
    stage(session)


@nox.session
def parity(session: nox.Session) -> None:
    """Compare with PyTorch; arguments go to pytest."""
    stage(session)


@nox.session
def instructions(session: nox.Session) -> None:
    """Count instructions under Valgrind; arguments go to pytest."""
    stage(session)


@nox.session
def sanitizers(session: nox.Session) -> None:
    """Watch addresses and undefined behaviour; arguments go to pytest."""
    stage(session)


@nox.session
def thread_sanitizer(session: nox.Session) -> None:
    """Watch for data races; arguments are the tests to run."""
    stage(session)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Call everything with anything, a million times; arguments go to `tests/fuzz`."""
    stage(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, run the examples in it and look at its pages; arguments go to pytest."""
    stage(session)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what is here beside scikit-learn; arguments go to `python -m lossfast bench`."""
    session.install(".[bench]")
    session.run("python", "-P", "-m", "lossfast", "bench", *session.posargs)


@nox.session
def history(session: nox.Session) -> None:
    """Run asv on the last 5 commits (`-- 5`) or 3 tags (`-- tags 3`); further arguments go to `asv run`."""
    words = session.posargs
    kind, *rest = words if words[:1] == ["tags"] else ["commits", *words]
    number, *options = rest or ["5"]
    wanted = ["tag", "--merged", "--sort=-creatordate"] if kind == "tags" else ["rev-list", "--first-parent", "HEAD"]
    names = lines(session, *wanted)[: int(number)]
    if len(names) < 2:
        session.error(f"found {len(names)} {kind}: a history has two at least")
    commits = lines(session, "rev-parse", *(f"{name}^{{commit}}" for name in names))
    chosen = Path(session.create_tmp(), "commits").resolve()
    chosen.write_text("\n".join(commits), encoding="utf-8")
    session.install(*nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]["bench"])
    session.chdir("asv_benchmarks")
    session.run("asv", "machine", "--yes", silent=True)
    session.run("asv", "run", "--skip-existing", *options, f"HASHFILE:{chosen}")
    session.run("asv", "publish")
    session.run("asv", "compare", "--split", "--only-changed", commits[-1], commits[0])


def lines(session: nox.Session, *command: str) -> list[str]:
    """What git says."""
    return str(session.run("git", *command, external=True, silent=True)).splitlines()
