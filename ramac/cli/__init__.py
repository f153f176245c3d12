"""The command line: `ramac key=value ...` trains; `ramac COMMAND ...` runs the module of that name in this package.

A command is one module with `main(arguments) -> exit status`; its docstring is its help.
"""

import ast
import atexit
import errno
import gc
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NoReturn

from ramac.errors import InputError, RunStopped, known_setting, nearest
from ramac.text import LONGEST, console, for_terminal, harmless_streams, printable, say, shortened

COMMANDS = tuple(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
HELP = ("-h", "--help")
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # the disk or the quota is full, it is read-only


def usage(command: str) -> str:
    """What a command's docstring says."""
    return (getdoc(import_module(f"ramac.cli.{command}")) or "").strip()


def summaries() -> dict[str, str]:
    """The first docstring line of each command, read from the files: nothing heavy is imported."""
    paths = {name: Path(__file__).with_name(f"{name}.py") for name in COMMANDS}
    texts = {name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for name, path in paths.items()}
    return {name: (text or "").partition("\n")[0] for name, text in texts.items()}


def value_of(key: str, text: str) -> Any:
    """The plain value of a setting, read as YAML. Raises InputError."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(f"value: {text or 'null'}"))["value"]  # type: ignore[index]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InputError(f"{key}: {text!r} is no value: {problem}") from error


def settings(words: Sequence[str], command: str, allowed: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """The words without `=`, and the settings by key; `task.` in `allowed` stands for all keys that begin so.

    Raises InputError for an unknown key.
    """
    plain, found = [], dict[str, Any]()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            plain.append(word)
        else:
            known_setting(key, command, allowed)
            found[key] = value_of(key, value)
    return plain, found


def run_of(words: Sequence[str], command: str) -> Path:
    """The one run folder that a command takes. Raises InputError."""
    if len(words) != 1:
        raise InputError(f"{command} takes one run folder, got {len(words)}: ramac {command} RUN")
    return Path(words[0])


def dial_of(summary: Mapping[str, Any]) -> str:
    """The dial of a run as it was played, `risk.alpha=0.05`; empty where there is none."""
    return " ".join(f"risk.{name}={value:g}" for name, value in summary.get("dial", {}).items())


def table_of(
    title: str, columns: Sequence[Any], rows: Iterable[Iterable[Any]], others: Any = "right", **options: Any
) -> Any:
    """A table for a console of rich; `others`: justification of the columns after the first.

    A cell is text, a list of lines, or `ramac.text.styled`. No text is taken for markup.
    """
    from rich.table import Table
    from rich.text import Text

    def cell(content: Any) -> Text:
        lines = content if isinstance(content, Sequence) and not isinstance(content, str) else [content]
        return (
            content if isinstance(content, Text) else Text("\n".join(shortened(printable(x), LONGEST) for x in lines))
        )

    head = Text(shortened(printable(title), LONGEST), "table.title")
    made = Table(title=head, title_justify="left", **options)
    for index, column in enumerate(columns):
        made.add_column(cell(column), justify=others if index else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def show_table(
    title: str, columns: Sequence[Any], rows: Iterable[Iterable[Any]], others: Any = "right", width: int = 0,
    **options: Any,
) -> None:  # fmt: skip
    """Print a table, as `table_of` makes it; `width`: the least in characters."""
    screen = console()
    screen.width = max(screen.width, width)
    screen.print(table_of(title, columns, rows, others, **options))


def fail(message: str, status: int = 2) -> NoReturn:
    """Print one line on standard error and exit; what a terminal would obey instead of showing is written out."""
    say(f"ramac: {message}", error=True)
    raise SystemExit(status)


def unusable(error: OSError) -> str:
    """What the system refused, in one line that names the file or folder."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"the output cannot be written: {reason}" if error.errno in UNWRITABLE else f"the system says: {reason}"
    return f"{error.filename} cannot be {'written' if error.errno in UNWRITABLE else 'used'}: {reason}"


def one_line(message: Warning | str, category: type[Warning], *_: object) -> str:
    """A warning without its source line; ours need no name of a category either."""
    return for_terminal(f"{'ramac' if category is UserWarning else category.__name__}: {message}", sys.stderr) + "\n"


def chosen(arguments: list[str]) -> tuple[str, list[str]]:
    """The command and its arguments. Raises InputError for a word that is none."""
    asked = any(word in arguments for word in HELP)
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        return first, ["--help"] if asked else arguments[1:]
    if asked and not any("=" in word for word in arguments):
        return "help", []
    if "--explain" in arguments:
        return "explain", [word for word in arguments if word != "--explain"]
    if re.fullmatch(r"[a-z]+", first):
        raise InputError(f"no command {first!r}; there are {', '.join(COMMANDS)}{nearest(first, COMMANDS)}")
    return "train", arguments


@contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection, and leave what was imported out of all later ones.

    Python would look for garbage 1000 times while torch and TorchRL are imported, among objects that all stay: that is
    two of five seconds. What is not frozen is looked through as soon as collection is on again.
    """
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if enabled:
            gc.enable()


def main() -> None:
    """Entry point of the `ramac` command."""
    warnings.formatwarning = one_line
    harmless_streams()
    arguments = sys.argv[1:]
    if arguments[:1] == ["--version"]:
        from importlib.metadata import version

        say(f"ramac {version('ramac')}")
        return
    try:
        os.getcwd()
    except OSError:
        fail("the working folder has been deleted; change into one that exists")
    try:
        command, rest = chosen(arguments)
        if rest[:1] in (["help"], *([word] for word in HELP)):
            say(*usage(command).splitlines())
            return
        # Python's last collection looks through all modules: a second, more on a busy machine
        atexit.register(gc.freeze)
        with importing():
            module = import_module(f"ramac.cli.{command}")
            if "torch" in sys.modules:  # as a command has it that asks for entries, which are little beside it
                import_module("ramac.registry").load()
        status = module.main(rest)
        sys.stdout.flush()  # here, where a full disk is told in one line
        if status:
            raise SystemExit(status)
    except InputError as error:
        fail(str(error))
    except (FloatingPointError, RunStopped) as error:
        fail(str(error), 1)
    except BrokenPipeError:  # the reader of our output has closed it: ramac list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:  # a full disk, a folder that is gone: whatever a command did not explain itself
        fail(unusable(error), 1)
    except KeyboardInterrupt as error:  # a run says how to continue: ramac.system.signals
        say("", f"ramac: {error if error.args else 'interrupted'}", error=True)
        raise SystemExit(getattr(error, "status", 130)) from None
