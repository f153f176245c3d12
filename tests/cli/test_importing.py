"""Imports of the command line are left out of garbage collection; nothing else is."""

import gc
import sys

import pytest

from ramac.cli import importing


@pytest.fixture(autouse=True)
def thawed():
    """Leave the collector as it was, whatever a test did to it."""
    frozen = gc.get_freeze_count()
    yield
    gc.enable()
    if not frozen:
        gc.unfreeze()


def test_what_is_imported_is_frozen_and_collection_goes_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "freshly_imported.py").write_text("import gc\nON = gc.isenabled()\nKEPT = [[i] for i in range(5000)]\n")
    before = gc.get_freeze_count()
    with importing():
        import freshly_imported  # pyright: ignore[reportMissingImports]
    monkeypatch.delitem(sys.modules, "freshly_imported")
    assert not freshly_imported.ON and gc.isenabled()
    assert gc.get_freeze_count() >= before + 5000


def test_nothing_is_frozen_where_nothing_is_imported():
    kept = [[i] for i in range(5000)]
    before = gc.get_freeze_count()
    with importing():
        pass
    assert gc.get_freeze_count() < before + len(kept)  # not equal: frozen objects may go meanwhile


def test_a_collector_that_is_off_stays_off_and_an_error_turns_it_on_again():
    with pytest.raises(KeyError), importing():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()
