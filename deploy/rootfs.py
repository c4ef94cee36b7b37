"""The files of a serving image, gathered from the Python that runs Seaway: no registry, no network, no shell.

The image gets the interpreter, the very versions of the libraries with which models were built and tested,
`serving/`, and the C libraries they are linked with. Everything is compiled to byte code, because a container
starts with an empty cache each time.
"""

from __future__ import annotations

import compileall
import fnmatch
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Literal

from deploy.containers import MODEL, UID
from deploy.errors import Permanent

Runtime = Literal["onnx", "full"]
_SERVER = ("aiohttp", "granian", "jmespath", "numpy", "onnxruntime", "orjson")
RUNTIMES: dict[str, tuple[str, ...]] = {
    "onnx": _SERVER,
    "full": (*_SERVER, "cryptography", "scikit-learn", "skops"),
}
"""What each kind of image can serve: compiled models only, or scikit-learn's as well."""
EXTRAS: dict[str, tuple[str, ...]] = {
    "s3": ("boto3",),
    "arrow": ("pyarrow",),
    "encryption": ("cryptography",),
}
"""What an image can have beside: captures to S3, Arrow and Parquet bodies, captures encrypted at rest."""
LIBRARIES = "/opt/seaway"
"""Where the image keeps Python packages, `serving` among them."""

_PRUNED_STANDARD = frozenset(
    {"__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages"}
    | {"test", "tests", "tkinter", "turtledemo", "venv"}
)
_PRUNED_FOLDERS = frozenset({"__pycache__", "tests", "include"})
_PRUNED_PATHS = (
    "onnxruntime/capi/libonnxruntime.so*",  # for programs in C; the Python module holds it once more
    *("onnxruntime/datasets/*", "onnxruntime/quantization/*"),
    *("onnxruntime/tools/*", "onnxruntime/transformers/*"),
    *("sklearn/datasets/data/*", "sklearn/datasets/images/*"),
    *("pyarrow/*_flight*", "pyarrow/_substrait*", "pyarrow/_pyarrow_cpp_tests*", "pyarrow/src/*"),
    *("pyarrow/_azurefs*", "pyarrow/_gcsfs*", "pyarrow/_hdfs*", "pyarrow/_s3fs*", "pyarrow/_orc*"),
    *("pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.*.*.*"),  # further names of one file
)
_KEPT_SERVICES = ("botocore/data/s3/*", "botocore/data/sts/*")
"""Of the descriptions of four hundred services, those that send captures and log in."""
_PRUNED_SUFFIXES = frozenset(
    {".a", ".c", ".cpp", ".f90", ".h", ".hpp", ".pxd", ".pxi", ".pyc", ".pyi", ".pyx"}
)
_UNLINKED = (
    *("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libanl.so.1", "libresolv.so.2"),
    *("libnss_dns.so.2", "libnss_files.so.2", "libgcc_s.so.1", "libstdc++.so.6"),
)
"""Loaded by name, or named by wheels built for older systems: no linker shows them."""
_LINE = re.compile(r"\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)")

_PROGRAM = """#!/usr/local/bin/python3
import sys

from serving.{name} import main

sys.exit(main())
"""
_PROGRAMS = ("serve", "train")
_PASSWORDS = f"root:x:0:0::/root:/sbin/nologin\nseaway:x:{UID}:{UID}::/tmp:/sbin/nologin\n"
_GROUPS = f"root:x:0:\nseaway:x:{UID}:\n"


class ImageRefused(Permanent):
    """The image cannot be made from what is installed here."""


def libraries_of(extras: Iterable[str]) -> tuple[str, ...]:
    """What these extras bring.

    Raises:
        ImageRefused: there is no such extra.
    """
    asked = sorted(set(extras))
    if unknown := [name for name in asked if name not in EXTRAS]:
        raise ImageRefused(f"images have no extra {unknown[0]!r}; choose from {', '.join(sorted(EXTRAS))}")
    return tuple(library for name in asked for library in EXTRAS[name])


def lacking(runtime: str, extras: Iterable[str]) -> tuple[str, ...]:
    """Those of the extras that the image of this runtime does not have by itself, in order."""
    there = set(RUNTIMES[runtime])
    return tuple(name for name in sorted(set(extras)) if not there.issuperset(libraries_of([name])))


def fingerprint(runtime: str, extra: Iterable[str] = ()) -> str:
    """Twelve hexadecimal digits that change with anything that would change the image's files."""
    rules = (_PROGRAM, _PRUNED_PATHS, _KEPT_SERVICES)
    parts = (sys.version, sorted(versions(runtime, extra).items()), rules)
    found = hashlib.sha256(f"2 {parts}".encode())
    for file in _sources():
        found.update(str(file.relative_to(_serving())).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def versions(runtime: str, extra: Iterable[str] = ()) -> dict[str, str]:
    """The libraries of an image with their versions, and all that they need.

    Args:
        runtime: a key of `RUNTIMES`.
        extra: exact requirements of a package, `name==version`; those that Seaway itself does not have
            installed in that version are refused.

    Raises:
        ImageRefused: something is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    left = [*RUNTIMES[runtime], *extra]
    found: dict[str, str] = {}
    while left:
        wanted = Requirement(left.pop())
        name = canonicalize_name(wanted.name)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        if (version := _version(name)) is None or not wanted.specifier.contains(version, prereleases=True):
            here = version or "nothing"
            raise ImageRefused(
                f"the image needs {wanted}, but {here} is installed here; install {wanted} first"
            )
        if name not in found:
            found[name] = version
            left += metadata.requires(name) or []
    return dict(sorted(found.items()))


def gather(root: Path, runtime: str, extra: Iterable[str] = ()) -> None:
    """Fill an empty folder with everything that belongs into the image."""
    _python(root)
    libraries = root / LIBRARIES.lstrip("/")
    for name in versions(runtime, extra):
        _distribution(name, libraries)
    for file in _sources():
        _copy(file, libraries / "serving" / file.relative_to(_serving()))
    _native(root)
    _strip(root)
    _compile(root)
    _system(root)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _serving() -> Path:
    import serving

    return Path(serving.__file__ or "").parent


def _sources() -> list[Path]:
    return sorted(
        file for file in _serving().rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )


def _python(root: Path) -> None:
    """The interpreter under /usr/local, where it finds its library from its own place."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    _copy(binary, root / "usr/local/bin" / name)
    (root / "usr/local/bin/python3").symlink_to(name)
    standard = Path(sysconfig.get_path("stdlib"))
    for file in _walk(standard, _PRUNED_STANDARD):
        relative = file.relative_to(standard)
        development = relative.parts[0].startswith("config-") or relative.name.startswith(
            ("_test", "_tkinter")
        )
        if not development and relative.suffix not in _PRUNED_SUFFIXES:
            _copy(file, root / "usr/local/lib" / name / relative)


def _distribution(name: str, libraries: Path) -> None:
    for file in metadata.files(name) or ():
        if _wanted(file):
            source = Path(str(file.locate()))
            if source.is_file():
                _copy(source, libraries / file)


def _wanted(file: PurePosixPath) -> bool:
    return not (
        ".." in file.parts
        or file.suffix in _PRUNED_SUFFIXES
        or _PRUNED_FOLDERS.intersection(file.parts[:-1])
        or _like(file, _PRUNED_PATHS)
        or (_like(file, ("botocore/data/*/*",)) and not _like(file, _KEPT_SERVICES))
    )


def _like(file: PurePosixPath, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(str(file), pattern) for pattern in patterns)


def _native(root: Path) -> None:
    """The C libraries that anything in the image is linked with, in a folder that the loader searches."""
    inside = [file for file in _walk(root) if not file.is_symlink() and _is_elf(file)]
    needed = _linked(inside)
    home = needed["libc.so.6"].parent
    for name in _UNLINKED:
        if (file := home / name).exists():
            needed[name] = file
    needed |= _linked([file.resolve() for file in needed.values()])
    for name, file in sorted(needed.items()):
        place = file if name.startswith("ld-") else home / name
        _copy(file.resolve(), root / str(place).lstrip("/"))


def _linked(files: list[Path]) -> dict[str, Path]:
    """What the loader would load for these files, by name, but for what lies beside them."""
    known = {file.name for file in files}
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    listed = subprocess.run(
        ["ldd", *map(str, files)], capture_output=True, text=True, check=False, env=environment
    ).stdout
    found: dict[str, Path] = {}
    for line in listed.splitlines():
        if match := _LINE.match(line):
            path = Path(match["path"])
            name = Path(match["name"] or match["path"]).name
            if name not in known:
                found[name] = path
    return found


def _is_elf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"


def _strip(root: Path) -> None:
    """Take the debugger's tables out of the interpreter, where binutils are at hand; wheels have none."""
    if tool := shutil.which("strip"):
        files = [*root.glob("lib/**/libpython*"), *root.glob("usr/local/lib/python*/lib-dynload/*.so")]
        subprocess.run([tool, "--strip-unneeded", *map(str, files)], capture_output=True, check=False)


def _compile(root: Path) -> None:
    """Byte code that is never checked against its source: the image does not change."""
    done = compileall.compile_dir(
        root,
        maxlevels=50,
        quiet=2,
        stripdir=str(root),
        prependdir="/",
        workers=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise ImageRefused("some library cannot be compiled to byte code; see `python -m compileall`")


def _system(root: Path) -> None:
    """A user, a place for the package, and the commands that the platform's contract names."""
    for folder in ("etc", "run", MODEL.lstrip("/"), "tmp", "var/log", "var/lib"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(_PASSWORDS)
    (root / "etc/group").write_text(_GROUPS)
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    for name in _PROGRAMS:
        program = root / "usr/local/bin" / name
        program.write_text(_PROGRAM.format(name=name))
        program.chmod(0o755)


def _walk(folder: Path, pruned: frozenset[str] = frozenset()) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - pruned)
        yield from (Path(place, file) for file in sorted(files))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
