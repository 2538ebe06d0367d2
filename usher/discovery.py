"""Finds the jobs of a project: the subclasses of Job in the modules of its folder `jobs/`."""

import ast
import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from usher.errors import ProjectError
from usher.job import Job, name_of, snake_case

FOLDER = "jobs"


@dataclass(frozen=True)
class Found:
    """The jobs of a project. `problems` are sentences with the module or the job."""

    jobs: dict[str, type[Job]]
    problems: tuple[str, ...]


def find_project(start: Path) -> Path:
    """The project of `start`: the nearest parent directory with a directory `jobs/`.

    Raises ProjectError.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            return folder
    raise ProjectError(
        f"{start} is in no project: no folder {FOLDER}/ here or above (`usher new NAME` makes one)"
    )


def find_jobs(project: Path) -> Found:
    """Import all modules of the project's `jobs/` and list the jobs that they define."""
    jobs: dict[str, type[Job]] = {}
    problems = []
    for name in _modules(project):
        try:
            module = _import(project, name)
        except ProjectError as error:
            problems.append(str(error))
            continue
        for job in _jobs_of(module):
            other = jobs.setdefault(name_of(job), job)
            if other is not job:
                problems.append(_twice([other, job]))
    return Found(dict(sorted(jobs.items())), tuple(problems))


def find_job(project: Path, name: str) -> type[Job]:
    """The job called `name`, with as few imports as possible.

    Other modules of the project may be broken. Raises ProjectError.
    """
    modules = list(_modules(project))
    likely = [module for module in modules if _mentions(project, module, name)]
    found = [
        job
        for module in likely
        for job in _jobs_of(_import(project, module))
        if name_of(job) == name
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ProjectError(_twice(found))
    jobs = find_jobs(project).jobs
    meant = difflib.get_close_matches(name, jobs, n=1)
    raise ProjectError(
        f"{project} has no job {name!r}; "
        + (f"did you mean {meant[0]!r}? " if meant else "")
        + f"there is: {', '.join(jobs) or 'none'}"
    )


def _twice(jobs: list[type[Job]]) -> str:
    places = " and ".join(f"{job.__module__}.{job.__qualname__}" for job in jobs)
    return f"the job {name_of(jobs[0])} is defined twice: {places}"


def _modules(project: Path) -> Iterator[str]:
    """Names of the modules, in order; those that begin with _ are skipped."""
    for path in sorted((project / FOLDER).iterdir()):
        is_package = path.is_dir() and (path / "__init__.py").is_file()
        if (is_package or path.suffix == ".py") and not path.name.startswith("_"):
            yield f"{FOLDER}.{path.stem}"


def _file(project: Path, module: str) -> Path:
    path = project.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _mentions(project: Path, module: str, name: str) -> bool:
    """Whether a class of that name may be defined there; a package is imported to find out."""
    file = _file(project, module)
    if file.name == "__init__.py":
        return True
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return module == f"{FOLDER}.{name}"  # its import reports the error
    return any(
        isinstance(node, ast.ClassDef) and snake_case(node.name) == name for node in ast.walk(tree)
    )


def _import(project: Path, module: str) -> ModuleType:
    root = str(project)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise ProjectError(f"{module} cannot be imported: {_why(error)}") from error
    file = Path(imported.__file__ or "").resolve()
    if not file.is_relative_to(project.resolve()):
        raise ProjectError(f"{module} is not the project's own, but {file}")
    return imported


def _why(error: BaseException) -> str:
    """The exception in one line, with its place in the project's code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        place = f" ({error.filename}:{error.lineno})"
        return f"SyntaxError: {error.msg}{place}"
    return f"{type(error).__name__}: {error}{place}"


def _jobs_of(module: ModuleType) -> list[type[Job]]:
    """Subclasses of Job that the module (or a module of the package) defines, without duplicates.

    A class that begins with _, or has no `run`, is a base class.
    """
    classes = dict.fromkeys(
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Job)
    )
    return [
        job
        for job in classes
        if (job.__module__ + ".").startswith(module.__name__ + ".")
        and not job.__name__.startswith("_")
        and job.run is not Job.run
    ]
