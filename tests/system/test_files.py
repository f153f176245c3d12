"""Writing: full disks, two processes, and what only POSIX has."""

import errno
import io
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

import ramac
from ramac import cli
from ramac.errors import InputError, RunStopped
from ramac.experiment.compose import compose
from ramac.experiment.evaluate import LONGEST, slug
from ramac.registry import GROUPS
from ramac.system.files import alone, whole, write_json
from trials.survival import SMALL

TINY = (*SMALL[:2], "actor=gaussian", "critic=mean", "risk=neutral", "trainer.batch_size=4", "trainer.steps=4",
        "task.transitions=60", "evaluation.episodes=2", "log_every=1")  # fmt: skip
HOLD = """
import sys, time
from filelock import FileLock
locks = [FileLock(path) for path in sys.argv[1:]]
for lock in locks:
    lock.acquire()
print(1, flush=True)
time.sleep(300)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


def full(number: int = errno.ENOSPC):
    """A function that fails as on a full disk: without a file's name."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def told(monkeypatch, capsys, *words: str) -> tuple[int, str]:
    """Exit status of a command line, and its last line on standard error."""
    monkeypatch.setattr(sys, "argv", ["ramac", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return int(str(stop.value.code)), said.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(number):
    Path("there.json").write_text("old")
    with pytest.raises(OSError) as caught, whole(Path("there.json")) as part:
        part.write_text("half of it")
        full(number)()
    assert (caught.value.errno, caught.value.filename) == (number, "there.json")
    assert Path("there.json").read_text() == "old"
    assert os.listdir() == ["there.json"]


def test_full_disks_are_one_line_at_the_command_line(monkeypatch, capsys):
    """What writes: a table in a run and in an evaluation, an estimate of a critic, a summary, and the output."""
    ramac.train(*TINY, "run_dir=run")
    with monkeypatch.context() as context:
        context.setattr("ramac.experiment.writers.tables.csv.DictWriter.writerows", full())
        status, line = told(context, capsys, *TINY, "run_dir=other")
        reason = "No space left on device; the same command starts it again"
        assert (status, line) == (1, f"ramac: other cannot be written: {reason}")
        status, line = told(context, capsys, "eval", "run", "episodes=1")
        assert status == 1
        assert re.fullmatch(r"ramac: run/evaluations/\S+/episodes\.csv cannot be written: No space left .*", line)
    with monkeypatch.context() as context:
        context.setattr("ramac.system.files.os.fsync", full(errno.EDQUOT))
        quota = "Disk quota exceeded"
        status, line = told(context, capsys, "eval", "run", "episodes=1")
        assert status == 1 and "summary.json cannot be written" in line and quota in line
        assert told(context, capsys, "report", "run")[1].endswith(f"cannot be written: {quota}")
        assert told(context, capsys, "pack", "run", "packed")[1] == f"ramac: packed cannot be written: {quota}"
        assert told(context, capsys, *TINY, "run_dir=third")[1].startswith("ramac: third cannot be written: Disk quota")
    assert sorted(path.name for path in Path().rglob(".*")) == [".lock", ".lock"], "of the runs that can be resumed"
    with pytest.raises(RunStopped), monkeypatch.context() as context:
        context.setattr("ramac.system.files.os.fsync", full())
        ramac.train(*TINY, "run_dir=other")
    assert ramac.train(*TINY, "run_dir=other")["return_mean"] == ramac.train(*TINY, "run_dir=last")["return_mean"]
    output = io.StringIO()
    output.flush = full()
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", output)
        told_of_output = told(context, capsys, "list")
    assert told_of_output == (1, "ramac: the output cannot be written: No space left on device")


def test_a_table_that_could_not_be_written_is_closed_quietly():
    from ramac.experiment.writers.tables import Table

    Path("table.csv").symlink_to("/dev/full")
    table = Table(Path("table.csv"), ["a"], None)
    with pytest.raises(OSError, match=r"No space left on device: 'table\.csv'"):
        table.write([{"a": 1}])
    table.close()


def test_one_process_at_a_time_writes_a_result():
    """While another process holds its lock, a result is refused; afterwards no lock is left."""
    ramac.train(*TINY, "run_dir=run")
    Path("page").mkdir()
    Path("run/evaluations").mkdir()
    commands = {
        "run/evaluations/.mine.lock": lambda: ramac.evaluate("run", episodes=1, name="mine"),
        "page/.index.html.lock": lambda: ramac.report("run", out="page", quiet=True),
        ".packed.lock": lambda: ramac.pack("run", "packed"),
    }
    before = {path for path in Path().rglob("*") if path.is_file()}
    with subprocess.Popen([sys.executable, "-c", HOLD, *commands], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.read(1) == b"1"
        for command in commands.values():
            with pytest.raises(InputError, match="another process is writing it"):
                command()
        assert {path for path in Path().rglob("*") if path.is_file()} - before == set(map(Path, commands))
        other.kill()
    for lock, command in commands.items():
        command()
        assert not Path(lock).exists()


def test_a_lock_that_is_a_link_is_refused():
    Path(".x.lock").symlink_to("elsewhere")
    with pytest.raises(InputError, match=r"\.x\.lock cannot be used: "), alone(Path("x")):
        pytest.fail("the block must not run")
    assert not Path("elsewhere").exists()


WITHOUT = """
import os, signal, sys
import filelock, torch, torchrl.envs, matplotlib.pyplot, minari, gymnasium
posix = "getuid geteuid pathconf sched_getaffinity fork mkfifo sysconf_names chown killpg getpgid setsid O_NOFOLLOW"
signals = "SIGHUP SIGKILL SIGALRM SIGUSR1 SIGPIPE"
for module, names in ((os, posix.split()), (signal, signals.split())):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
import ramac
ramac.train(*sys.argv[1:], "run_dir=run", quiet=True)
ramac.evaluate("run", episodes=1)
ramac.pack("run", "packed")
sys.argv = ["ramac", "info"]
ramac.main()
"""


def test_a_run_needs_nothing_that_only_posix_has():
    ran = subprocess.run([sys.executable, "-c", WITHOUT, *TINY], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert Path("run/summary.json").exists() and Path("packed/README.md").exists()


RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port, number in product(("com", "lpt"), range(10)))}


def fits_windows(name: str) -> bool:
    """The rules of https://learn.microsoft.com/windows/win32/fileio/naming-a-file."""
    bad = re.search(r'[<>:"/\\|?*\x00-\x1f]', name) or name[-1] in ". " or name.partition(".")[0].lower() in RESERVED
    return not bad and len(name) < 150  # of the 260 of a path


def test_names_that_we_make_fit_windows(tmp_path):
    assert not any(map(fits_windows, ("a:b", "NUL", "con.txt", "a ", "a.", "a/b", "x" * 150)))
    words = ["risk=mean_cvar", "risk=wang-0.75", "risk=cvar0.1", "recipe=oraac_diff", "actor=ddpm20", "critic=ncqr",
             "task=hopper-medium-expert", "critic=fqf", "risk=dual_power"]  # fmt: skip
    for word in words:
        assert fits_windows(compose([word]).name), word
    for group, registry in GROUPS.items():
        assert all(map(fits_windows, registry)), group
    settings = {"hazard": "none", "task.horizon": 5, "evaluation.alphas": [0.1, 0.5], "name": 'a:b*?"<>|'}
    assert fits_windows(slug(settings))
    long = {f"task.setting{number}": number for number in range(40)}
    assert len(slug(long)) < LONGEST + 10 and slug(long) != slug({**long, "task.setting0": 1})
    ramac.train(*TINY, "save_every=2", "evaluation.every=2")
    assert all(fits_windows(part) for path in Path().rglob("*") for part in path.relative_to(".").parts)


def test_atomic_writes_are_synced_with_their_folder(monkeypatch):
    synced = []
    monkeypatch.setattr("ramac.system.files.synchronise", synced.append)
    write_json(Path("a.json"), {"a": torch.pi})
    assert synced == [Path(".a.json.part"), Path()]
