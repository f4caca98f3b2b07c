"""What every reader takes: a path, or the bytes themselves with a name for the error line."""

from pathlib import Path

from mambatalk.errors import InputError

Source = str | Path | bytes


def load_bytes(source: Source, *, where: str | None, limit: int) -> tuple[bytes, str]:
    """Bytes of a source of at most `limit` bytes, and its name for errors.

    Raises:
        InputError: The file is missing, is no file, is empty or too large.

    """
    name = where or ("given bytes" if isinstance(source, bytes) else str(source))
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > limit:
            raise InputError(
                name, f"expected at most {limit}, found {size} bytes", "check that this is the file"
            )
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            name, "expected a file of the corpus, found no such file", "check the path"
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(
            name, f"expected a readable file, found {error.strerror}", "check the path"
        ) from None
    if not data:
        raise InputError(name, "expected content, found an empty file", "fetch the file again")
    return data, name
