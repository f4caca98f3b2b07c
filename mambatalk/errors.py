"""The one error a user sees: a single line that says where, what was found, what was expected and
what to do.
"""


class UserError(Exception):
    """Bad input, told in one line and never as a traceback.

    Args:
        where: File, field or option that holds the fault.
        found: What stands there.
        expected: What should stand there.
        do: What the reader should do next.

    """

    def __init__(self, where: object, *, found: object, expected: object, do: str) -> None:
        self.where, self.found, self.expected, self.do = str(where), str(found), str(expected), do
        super().__init__(" ".join(f"{where}: found {found}; expected {expected}; {do}".split()))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Survive the trip back from a worker process, keyword arguments included."""
        return _rebuild, (self.where, self.found, self.expected, self.do)


def _rebuild(where: str, found: str, expected: str, do: str) -> UserError:
    return UserError(where, found=found, expected=expected, do=do)
