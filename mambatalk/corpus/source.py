"""What every reader takes: a path, or the bytes themselves with a name for the error line."""

from pathlib import Path

from mambatalk.errors import UserError

Source = str | Path | bytes


def load_bytes(source: Source, *, where: str | None, limit: int) -> tuple[bytes, str]:
    """Bytes of a source of at most `limit` bytes, and its name for errors.

    Raises:
        UserError: The file is missing, is no file, is empty or too large.

    """
    name = where or ("given bytes" if isinstance(source, bytes) else str(source))
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > limit:
            raise UserError(
                name,
                found=f"{size} bytes",
                expected=f"at most {limit}",
                do="check that this is the file",
            )
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            name, found="no such file", expected="a file of the corpus", do="check the path"
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(
            name, found=error.strerror, expected="a readable file", do="check the path"
        ) from None
    if not data:
        raise UserError(name, found="an empty file", expected="content", do="fetch the file again")
    return data, name
