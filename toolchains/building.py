"""Builds a language's part of the project, or takes the same build from the cache.

The cache is outside the tree, in `$XDG_CACHE_HOME/rendezvous` (`~/.cache/rendezvous`): one archive for each
content of the sources. A stamp in `.tools/built` says which content the outputs in the tree were built of.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from toolchains.languages import ROOT, TOOLS, Language

STAMPS = TOOLS / "built"
_KEPT_BUILDS = 4
_LEFT_OUT = frozenset({"target", "node_modules", "__pycache__", ".git"})


class BuildError(RuntimeError):
    """A build failed; the message holds the end of what it printed."""


def cache_folder() -> Path:
    """Returns the folder in which builds are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rendezvous" / "builds"


def fingerprint(language: Language) -> str:
    """Returns a hash of everything of which *language*'s build is made."""
    digest = hashlib.sha256(json.dumps([*language.build, *language.outputs]).encode())
    for path in sorted(_sources(language)):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    for tool in language.tools:
        digest.update(str(shutil.which(tool.command[0])).encode())
    return digest.hexdigest()[:24]


def build(language: Language) -> str:
    """Brings *language*'s outputs up to date.

    Returns:
        What was done: `up to date`, `from the cache`, or `built in 12 s`.

    Raises:
        BuildError: the build failed.
    """
    mark = fingerprint(language)
    stamp = STAMPS / language.name
    if stamp.exists() and stamp.read_text() == mark and _outputs_exist(language):
        return "up to date"
    stamp.unlink(missing_ok=True)
    archive = cache_folder() / f"{language.name}-{mark}.tar"
    started = time.monotonic()
    done = "from the cache"
    if not _restore(language, archive):
        _run(language)
        if language.is_cached:
            _keep(language, archive)
        done = f"built in {time.monotonic() - started:.0f} s"
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(mark)
    return done


def is_built(language: Language) -> bool:
    """Whether *language* was prepared and its outputs are there."""
    return (STAMPS / language.name).exists() and _outputs_exist(language)


def _sources(language: Language) -> Iterator[Path]:
    for source in language.sources:
        top = ROOT / source
        if top.is_file():
            yield top
        for folder, names, files in os.walk(top):
            names[:] = [name for name in names if name not in _LEFT_OUT]
            yield from (Path(folder) / name for name in files)


def _outputs_exist(language: Language) -> bool:
    return all((ROOT / output).exists() for output in language.outputs)


def _run(language: Language) -> None:
    done = subprocess.run(
        list(language.build),
        cwd=ROOT,
        env={**os.environ, **language.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not _outputs_exist(language):
        end = "\n".join(done.stdout.splitlines()[-25:])
        raise BuildError(f"`{' '.join(language.build)}` ended with status {done.returncode}; its last lines:\n{end}")


def _restore(language: Language, archive: Path) -> bool:
    if not archive.exists():
        return False
    for output in language.outputs:
        shutil.rmtree(ROOT / output, ignore_errors=True)
    with tarfile.open(archive) as bundle:
        bundle.extraction_filter = getattr(tarfile, "tar_filter", None)  # early releases of Python 3.11 have none
        bundle.extractall(ROOT)  # noqa: S202 - an archive of our own
    os.utime(archive)
    return _outputs_exist(language)


def _keep(language: Language, archive: Path) -> None:
    folder = archive.parent
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as scratch,
        tarfile.open(fileobj=scratch, mode="w") as bundle,
    ):
        for output in language.outputs:
            bundle.add(ROOT / output, arcname=output)
    Path(scratch.name).replace(archive)
    kept = sorted(folder.glob(f"{language.name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in kept[_KEPT_BUILDS:]:
        old.unlink(missing_ok=True)
