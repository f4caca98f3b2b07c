"""A snapshot described in Croissant, the JSON-LD vocabulary for data sets of machine learning.

Catalogues and search engines read it: what the data is, its licence and citation, where its files
are, and the columns of the split table. The digest of the snapshot identifies the files.
Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

from collections.abc import Mapping
from typing import Any, Final

from mambatalk.corpus.layout import FOLDERS, SPLIT_TABLE, SPLITS
from mambatalk.errors import InputError

CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
FILE_SETS: Final = {
    "motion": ("application/x-npz", "SMPL-X motion at 30 fps: poses, expressions, trans, betas"),
    "wave": ("audio/wav", "Speech, 16 kHz mono"),
    "textgrid": ("text/plain", "Praat TextGrid with the tiers words and phones"),
    "semantics": ("text/tab-separated-values", "Semantic labels of gestures, with their times"),
}
"""Media type and description of each kind of file."""

REQUIRED: Final = ("name", "licence", "url")
"""What the origin of a snapshot must state."""


def describe_snapshot(
    snapshot: Mapping[str, Any], *, published: str, where: str = "snapshot"
) -> dict[str, Any]:
    """Return the Croissant description of a snapshot.

    Args:
        snapshot: Result of `corpus.snapshot.read_snapshot`.
        published: Date of publication, such as 2026-11-28.
        where: Location shown in error messages.

    Raises:
        InputError: The snapshot has no split table, or does not state name, licence and url.

    """
    files = snapshot["files"]
    if SPLIT_TABLE not in files:
        raise InputError(where, f"expected {SPLIT_TABLE}, found none", "take it again")
    origin = snapshot.get("origin", {})
    missing = [key for key in REQUIRED if key not in origin]
    if missing:
        raise InputError(
            where,
            f"expected {', '.join(REQUIRED)} of the corpus, found no {', '.join(missing)}",
            "take it again: mambatalk snapshot ROOT --out FILE --name ... --licence ... --url ...",
        )
    present = [kind for kind in FOLDERS if _count(files, kind)]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": origin["name"],
        "description": (
            f"Speech and whole-body SMPL-X motion in BEATX layout: {_count(files, 'motion')} clips."
        ),
        "license": origin["licence"],
        "url": origin["url"],
        "citeAs": origin.get("citation", origin["url"]),
        "datePublished": published,
        "version": "1.0.0",
        "identifier": f"sha256:{snapshot['digest']}",
        "isLiveDataset": False,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": SPLIT_TABLE,
                "name": SPLIT_TABLE,
                "description": "The split of each clip",
                "contentUrl": SPLIT_TABLE,
                "contentSize": f"{files[SPLIT_TABLE]['size']} B",
                "encodingFormat": "text/csv",
                "sha256": files[SPLIT_TABLE]["sha256"],
            },
            *(_file_set(kind) for kind in present),
        ],
        "recordSet": [_splits(), _clips()],
    }


def _count(files: Mapping[str, Any], kind: str) -> int:
    folder, suffix = FOLDERS[kind]  # type: ignore[index]
    return sum(path.startswith(f"{folder}/") and path.endswith(suffix) for path in files)


def _file_set(kind: str) -> dict[str, Any]:
    folder, suffix = FOLDERS[kind]  # type: ignore[index]
    media, description = FILE_SETS[kind]
    return {
        "@type": "cr:FileSet",
        "@id": kind,
        "name": kind,
        "description": description,
        "encodingFormat": media,
        "includes": f"{folder}/*{suffix}",
    }


def _splits() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "Names of the splits",
        "dataType": "sc:Enumeration",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "Name of the split")],
        "data": [{"splits/name": split} for split in SPLITS],
    }


def _clips() -> dict[str, Any]:
    fields = (
        ("clips/id", "id", "SPEAKER_NAME_TYPE_START_END; the files of a clip have this name"),
        ("clips/type", "type", "Split of the clip"),
    )
    return {
        "@type": "cr:RecordSet",
        "@id": "clips",
        "name": "clips",
        "description": "One record per clip",
        "key": {"@id": "clips/id"},
        "field": [
            {
                **_field(name, description),
                "source": {"fileObject": {"@id": SPLIT_TABLE}, "extract": {"column": column}},
            }
            for name, column, description in fields
        ],
    }


def _field(name: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": description,
        "dataType": "sc:Text",
    }
