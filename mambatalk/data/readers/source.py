"""What the readers share: bytes from a path or as given, and one error for all that foreign bytes can do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mambatalk.errors import UserError

Source = str | Path | bytes


def load(source: Source, name: str, *, limit: int, expected: str) -> tuple[bytes, str]:
    """The bytes of a source and its name for messages: its path, or `name` where bytes were given.

    Raises:
        UserError: No such file, not readable, or larger than `limit` bytes.

    """
    if isinstance(source, bytes):
        data = source
    else:
        name = str(source)
        try:
            with Path(source).open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise UserError(name, found=error.strerror or "an unreadable file", expected=expected,
                            do="check the path") from None
    if not 0 < len(data) <= limit:
        raise UserError(name, found="an empty file" if not data else f"more than {limit >> 20} MiB",
                        expected=expected, do="get the file again")
    return data, name


@contextmanager
def parsing(name: str, *, expected: str) -> Iterator[None]:
    """Turn whatever a parser of foreign bytes raises into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    # Damaged bytes make zipfile, numpy and libsndfile raise nearly any class there is; all mean the same here.
    except Exception as error:
        reason = ascii(str(error)[:160])[1:-1] or "no details"
        raise UserError(name, found=f"a damaged file ({type(error).__name__}: {reason})", expected=expected,
                        do="get the file again or take the clip out of the split file") from error
