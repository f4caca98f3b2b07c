"""What names the last release agrees with the changelog."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASES = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", CHANGELOG, re.MULTILINE)


def test_the_changelog_lists_releases_from_the_newest_to_the_oldest() -> None:
    assert "\n## [Unreleased]\n" in CHANGELOG
    numbers = [tuple(map(int, version.split("."))) for version, _ in RELEASES]
    assert numbers
    assert numbers == sorted(numbers, reverse=True)
    dates = [date for _, date in RELEASES]
    assert dates == sorted(dates, reverse=True)


def test_the_citation_names_the_last_release() -> None:
    version, date = RELEASES[0]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation
    assert f"\ndate-released: {date}\n" in citation


def test_the_images_have_the_last_release_as_their_tag() -> None:
    files = [
        path for path in (ROOT / "infra").rglob("*") if path.suffix in (".yaml", ".Dockerfile")
    ]
    pattern = r"mambatalk/[a-z-]+(?::|, newTag: )(\d[\w.]*)"
    tags = [tag for path in files for tag in re.findall(pattern, path.read_text(encoding="utf-8"))]
    assert len(tags) > 5
    assert set(tags) == {RELEASES[0][0]}
