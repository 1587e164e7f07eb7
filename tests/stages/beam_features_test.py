"""Features through Beam's local runner: the same cache, file by file, as the stage writes."""

import sys

import pytest

from visem_tf import extract
from visem_tf.errors import UserError

TINY = ["--preset", "smoke", "--regions.picture_size", "96", "--regions.num_regions", "4"]


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in (folder / "features").rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_beam_fills_the_same_cache(untrained_run, tmp_path, capsys):
    pytest.importorskip("apache_beam")
    config = ["--config", str(untrained_run.path / "config.json")]
    command = [*config, "--cache-dir", str(tmp_path / "beam")]
    capsys.readouterr()
    extract.main(command)
    expected = files(untrained_run.cache_dir)
    assert len(expected) >= 6
    assert files(tmp_path / "beam") == expected
    assert "train: " in capsys.readouterr().out

    first = next(path for path in expected if path.suffix == ".npy")
    (tmp_path / "beam" / first).unlink()
    extract.main(command)  # what is missing, and no more
    assert files(tmp_path / "beam") == expected
    assert capsys.readouterr().out.count("nothing to do") == 2


def test_beams_own_arguments_are_checked(tmp_path):
    pytest.importorskip("apache_beam")
    with pytest.raises(UserError, match="Apache Beam does not accept --streaming=perhaps"):
        extract.main([*TINY, "--cache-dir", str(tmp_path), "--beam=--streaming=perhaps"])


def test_without_beam_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install 'visem_tf\[beam\]'"):
        extract.main([*TINY, "--cache-dir", str(tmp_path)])
