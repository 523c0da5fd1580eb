"""What a process can find out about its model by itself: repository, commit, packages, runtime."""

import inspect
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from rendezvous_proto import v1

__all__ = ["complete_info", "find_packages", "find_source_control", "strip_credentials"]

_GIT_TIMEOUT_S = 5.0
_SCP_ADDRESS = re.compile(r"^[^@/]+@(?P<host>[^:/]+):(?P<path>.+)$")
_USER_INFO = re.compile(r"^(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/@]*@")
_QUERY = re.compile(r"[?#].*$")


def complete_info(info: v1.ModelInfo, *, name: str, version: str, source: object) -> v1.ModelInfo:
    """Returns *info* with everything that the author need not say.

    Args:
        info: what the author declared; kept.
        name: the model's name.
        version: the model's version.
        source: the author's function or object; its file tells the repository.
    """
    full = v1.ModelInfo(
        language="python",
        runtime=f"{platform.python_implementation()} {platform.python_version()}",
        sdk=f"rendezvous-sdk-python {metadata.version('rendezvous-sdk')}",
        source_control=find_source_control(source),
        packages=find_packages(),
        description=_first_line(source),
    )
    full.MergeFrom(info)
    full.name, full.version = name, version
    return full


def find_source_control(source: object) -> v1.SourceControl | None:
    """Returns repository, commit and state of the working tree that holds *source*'s file; None outside of git."""
    folder = _folder_of(source)
    git = shutil.which("git")
    if folder is None or git is None:
        return None
    commit = _run(git, folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return v1.SourceControl(
        repository=strip_credentials(_run(git, folder, "remote", "get-url", "origin")),
        commit=commit,
        dirty=bool(_run(git, folder, "status", "--porcelain", "--untracked-files=no")),
    )


def strip_credentials(address: str) -> str:
    """Returns the address of a repository without user, password, token and query."""
    address = _QUERY.sub("", address.strip())
    if "://" in address:
        return _USER_INFO.sub(lambda match: match["scheme"], address)
    return _SCP_ADDRESS.sub(lambda match: f"{match['host']}:{match['path']}", address)


def find_packages() -> list[v1.Package]:
    """Returns name and version of each installed package of which this process has imported something."""
    imported = {name.partition(".")[0] for name in sys.modules}
    owners = metadata.packages_distributions()
    # A name that several packages share (`google`) does not tell which of them was imported.
    names = {found.pop() for module in imported if len(found := set(owners.get(module, ()))) == 1}
    return [v1.Package(name=name, version=metadata.version(name)) for name in sorted(names, key=str.lower)]


def _folder_of(source: object) -> Path | None:
    if isinstance(source, Path):
        return source.resolve().parent
    target = source if inspect.isclass(source) or inspect.isroutine(source) else type(source)
    try:
        file = inspect.getsourcefile(target)
    except TypeError:
        file = None
    return Path(file).resolve().parent if file else None


def _first_line(source: object) -> str:
    if not inspect.isclass(source) and not inspect.isroutine(source):
        source = type(source)  # an object's own text is its class's
    if source.__module__ == "builtins" or (isinstance(source, type) and issubclass(source, Path)):
        return ""
    return (inspect.getdoc(source) or "").partition("\n")[0]


def _run(git: str, folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
