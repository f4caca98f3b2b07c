"""Words around numbers, in messages and pages."""


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 clip", "2 clips"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
