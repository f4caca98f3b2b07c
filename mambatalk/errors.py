"""The error that reports bad input to a person: location, problem, hint."""


class InputError(ValueError):
    """Bad input that the user can fix, reported in one line without a traceback.

    The command line prints `LOCATION: PROBLEM; HINT` and exits with code 2. Numerical code
    raises plain `ValueError` instead.

    Args:
        location: File, field or option that holds the fault.
        problem: What is wrong, usually "expected ..., found ...".
        hint: How to fix it.

    """

    def __init__(self, location: object, problem: str, hint: str) -> None:
        self.location = str(location)
        self.problem = problem
        self.hint = hint
        # Messages of libraries may span several lines and quote the bytes of a damaged file.
        line = " ".join(f"{location}: {problem}; {hint}".split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        """Pickle with the constructor's arguments: worker processes send this error back."""
        return type(self), (self.location, self.problem, self.hint)
