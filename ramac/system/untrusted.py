"""Reading files that others may have written: settings, descriptions and tables as plain data of bounded size.

Nothing here runs code, waits for a pipe, follows a link out of the given folder, or reads the environment.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import yaml

from ramac.errors import InputError
from ramac.system.paths import regular

# JSON and YAML of these sizes are read in less than a second, whatever they hold: docs/results/hostile.md
JSON_BYTES = 2**18  # a hundred times the summary of a run
LONG_JSON_BYTES = 2**22  # a sweep of 20 000 runs, or a description of observations of 100 000 numbers
YAML_BYTES = 2**16  # twenty times the configuration of a run; libyaml reads a megabyte in ten seconds
CSV_BYTES = 2**28  # a hundred metrics at each of 50 000 gradient steps
COLUMNS = 1000  # of a table
CELLS = 15_000_000  # of a table: as many as that file has
DEEPEST = 32  # levels of nested settings


@contextmanager
def opened(path: Path, root: Path | None = None, most: int = CSV_BYTES) -> Iterator[BinaryIO]:
    """A regular file of at most `most` bytes, open for reading; an error of the disk is refused. Raises InputError."""
    try:
        if (size := regular(path, root).stat().st_size) > most:
            raise InputError(f"{path} has {size / 1024:.0f} KiB; at most {most // 1024} are read")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def text_of(path: Path, root: Path | None, most: int) -> str:
    """Content of a UTF-8 file of at most `most` bytes. Raises InputError."""
    with opened(path, root, most) as file:
        content = file.read(most)  # files of the system say that they have no bytes
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from error


def distinct(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """The pairs as a mapping. Raises ValueError for a key that appears twice."""
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return found


def integer(text: str) -> float:
    """The integer; infinity beyond every float, as JSON's own 1e400 is. Raises ValueError for thousands of digits."""
    found = int(text)
    return found if len(text) < 300 else float(text)


class Plain(yaml.CSafeLoader):
    """Loader of plain values: no key twice, of which PyYAML keeps the last, and no dates."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }  # fmt: skip

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        distinct((key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > 400:  # beyond every float; Python cannot write an integer of 5000 digits
            raise ValueError(f"an integer of {len(node.value)} digits")
        return super().construct_yaml_int(node)


Plain.add_constructor("tag:yaml.org,2002:int", Plain.construct_yaml_int)


def read_json(path: Path, root: Path | None = None, most: int = JSON_BYTES) -> dict[str, Any]:
    """Mapping in a JSON file of at most `most` bytes. Raises InputError."""
    text = text_of(path, root, most)
    try:
        content = json.loads(text, object_pairs_hook=distinct, parse_int=integer)
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply") from error
    except ValueError as error:  # includes integers of thousands of digits
        raise InputError(f"{path} is not valid JSON: {error}") from error
    level, depth = [content], 0
    while level := [value for outer in level for value in inner(outer) if isinstance(value, dict | list)]:
        if (depth := depth + 1) >= DEEPEST:
            raise InputError(f"{path} is nested too deeply: at most {DEEPEST} levels are read")
    return mapping(path, content)


def inner(content: Any) -> Iterable[Any]:
    """What a mapping or a list holds; nothing for other values."""
    return content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()


def read_yaml(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Mapping in a YAML file of plain values: one document, no tags, no references. Raises InputError."""
    text = text_of(path, root, YAML_BYTES)
    try:
        refuse_events(path, text)
        content = yaml.load(text, Plain)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    return mapping(path, content)


def refuse_events(path: Path, text: str) -> None:
    """Refuse YAML by its events, before anything is built of them: aliases can expand to gigabytes, and nesting can
    exhaust the stack. Raises InputError.
    """
    depth = documents = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > DEEPEST:
            raise InputError(f"{path} is nested too deeply: at most {DEEPEST} levels are settings")
        if isinstance(event, yaml.AliasEvent):
            raise InputError(f"{path}: '*{event.anchor}' is a YAML alias; write the setting out")
        if tag := getattr(event, "tag", None):
            raise InputError(f"{path}: {tag!r} is a YAML tag; settings are plain values")
        if documents > 1:
            raise InputError(f"{path} holds several YAML documents; settings are one")


def mapping(path: Path, content: Any) -> dict[str, Any]:
    """The content itself, settings by name. Raises InputError."""
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings, but {type(content).__name__}")
    return content


def read_csv(path: Path, root: Path | None = None, growing: bool = False) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and rows of one text per column, of a csv file. Raises InputError.

    Of a file that is `growing`, a last line without its end is left out: it may be half written.
    """
    try:
        with opened(path, root) as file:
            lines = io.TextIOWrapper(file, "utf-8-sig", newline="")  # spreadsheets write a byte order mark
            reader = csv.reader(line for line in lines if line.endswith("\n") or not growing)
            names = next(reader, [])
            if len(names) > COLUMNS:
                raise InputError(f"{path.name} has {len(names)} columns; at most {COLUMNS} are read")
            distinct((name, None) for name in names)
            rows, cells = [], 0
            for row in reader:
                if (cells := cells + len(row)) > CELLS:
                    raise InputError(f"{path.name} has more than {CELLS} cells")
                rows += [row] if row else []
    except InputError:
        raise
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    for count, row in enumerate(rows, 1):
        if len(row) != len(names):
            wrong = "more" if len(row) > len(names) else "fewer"
            raise InputError(f"{path.name}: row {count} has {wrong} than the {len(names)} columns of the first line")
    return names, rows


def refuse_instructions(path: Path, content: Any, place: str = "") -> None:
    """Refuse settings that are more than a value: `_target_: os.system`, `${oc.env:HOME}`. Raises InputError.

    A run writes resolved settings, and entries come from the registries, so our own files contain neither.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            inner_place = f"{place}.{key}" if place else str(key)
            if not isinstance(key, str) or (key.startswith("_") and key.endswith("_")):
                raise InputError(f"{path}: {inner_place!r} is not a setting; entries are chosen by their name only")
            refuse_instructions(path, value, inner_place)
    elif isinstance(content, list):
        for value in content:
            refuse_instructions(path, value, place)
    elif isinstance(content, str) and "${" in content:
        raise InputError(f"{path}: {place}={content!r} is an interpolation; a saved setting is a plain value")
