"""A directory of files is written whole, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from hostwright.errors import BadInput, HostwrightError


def write(target: Path, files: Mapping[str, str], secret: Collection[str]) -> None:
    """Write `files` (path -> content) to the new directory `target`; those in `secret` are its owner's alone.

    Raises BadInput where `target` is there already, with the files that differ; a secret one is the user's own, and not
    compared.
    """
    try:
        if target.exists() or target.is_symlink():
            differences = _differences(target, files, secret)
            raise BadInput(f"{target.name}/ is there already, and stays as it is{differences}", HINT)
        with tempfile.TemporaryDirectory(prefix=".init-", dir=target.parent) as work:
            made = Path(work) / target.name
            for name, content in files.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600 if name in secret else 0o666)
                path.write_text(content, encoding="utf-8", errors="backslashreplace")
            made.rename(target)
    except OSError as error:
        raise HostwrightError(f"{target} can't be written: {error.strerror}") from None


HINT = "Its files are yours. To see what would be written now: hostwright init --into another-directory"


def _differences(target: Path, files: Mapping[str, str], secret: Collection[str]) -> str:
    compared = [name for name in files if name not in secret]
    missing = [name for name in compared if not (target / name).is_file()]
    differ = [name for name in compared if name not in missing and _read(target / name) != files[name].encode("utf-8")]
    said = [f"differs from what init would write in {', '.join(differ)}"] if differ else []
    said += [f"lacks {', '.join(missing)}"] if missing else []
    return ": it " + "; it ".join(said) if said else ": it is what init would write"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HostwrightError(f"{path} can't be read: {error.strerror}") from None
