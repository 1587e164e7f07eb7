import importlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from visem_tf.cli import parse_arguments
from visem_tf.config import Config
from visem_tf.config.options import make_parser, option, short_for
from visem_tf.config.presets import preset
from visem_tf.errors import UserError

ROOT = Path(__file__).parents[1]


def parse(*arguments: str, **options) -> Config:
    return parse_arguments(make_parser("fit", "Trains."), arguments, **options)[0]


def test_defaults_are_the_preset_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    config = parse()
    expected = {
        "run_dir": str(tmp_path / "runs" / "scenes-default"),
        "cache_dir": str(Path("~/.cache/visem_tf").expanduser()),
    }
    assert config == preset("default").updated(expected)


def test_the_command_line_beats_the_file_and_that_the_preset(tmp_path: Path):
    file = tmp_path / "c.json"
    file.write_text('{"align": {"epochs": 7, "margin": 2.0}, "seed": 5}')
    config = parse("--preset", "smoke", "--config", str(file), "--align.epochs", "9")
    assert (config.align.epochs, config.align.margin, config.seed) == (9, 2.0, 5)
    assert config.align.batch_size == preset("smoke").align.batch_size
    assert config.dataset == "scenes/smoke"
    file.write_text('{"preset": "paper", "align.epochs": 7}')
    assert parse(f"--config={file}").align.embedding_dim == 1000
    assert parse("--config", str(file), "--preset", "smoke").preset == "smoke"


@pytest.mark.parametrize("name", ["smoke", "default", "paper", "best"])
def test_a_folder_of_data_is_recognised_in_every_preset(name: str, tmp_path: Path):
    assert parse("--preset", name, "--data-dir", str(tmp_path)).dataset == "auto"
    chosen = parse("--preset", name, "--data-dir", str(tmp_path), "--dataset", "scenes/smoke")
    assert chosen.dataset == "scenes/smoke"


def test_a_value_equal_to_the_default_still_overrides_the_preset():
    assert parse("--preset", "smoke", "--text.min_count", "5").text.min_count == 5


def test_fields_that_depend_on_each_other_may_change_together():
    off = ("--generate.doubly_stochastic", "0", "--generate.alignment_weight", "0")
    config = parse("--preset", "best", "--generate.model", "mrnn", *off)
    assert (config.generate.model, config.generate.doubly_stochastic) == ("mrnn", 0.0)


@pytest.mark.parametrize(
    "arguments",
    [("--align.batch_size", "200"), ("--align.batch-size=200",), ("--align.batch_size=200",)],
)
def test_dotted_overrides_in_both_spellings(arguments: tuple[str, ...]):
    assert parse(*arguments).align.batch_size == 200


def test_every_common_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    arguments = "--dataset flickr8k --data_dir 123 --stages features,align --seed 3 --strict"
    config = parse(*arguments.split(), "--run-dir", "~/r", "--cache-dir", "c")
    assert (config.dataset, config.seed, config.strict) == ("flickr8k", 3, True)
    assert config.stages == ("features", "align")
    assert config.run_dir == str(Path("~/r").expanduser())
    assert (config.data_dir, config.cache_dir) == (str(tmp_path / "123"), str(tmp_path / "c"))
    assert not parse("--align.train_words", "false").align.train_words


def test_every_field_can_be_given():
    config = preset("paper").updated({"run_dir": "/r", "cache_dir": "/c", "data_dir": "/d"})
    config = config.updated({"generate.ensemble": ["/r/1", "/r/2"]})
    arguments = []
    for name, value in config.flat():
        if name == "strict":
            continue
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        arguments += [f"--{name}", text.lower() if isinstance(value, bool) else text]
    assert parse(*arguments) == config


def test_runs_of_an_ensemble_may_be_given_from_here(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse("--generate.ensemble", "a, ~/b")
    assert config.generate.ensemble == (str(tmp_path / "a"), str(Path("~/b").expanduser()))


def test_own_arguments_of_a_command():
    class Options:
        images = option(nargs="+")
        """Images."""
        json_file = option("FILE")
        """A file."""
        top = option("N", 6, type=int)
        """Regions to show, 95 %
        of them."""
        beam = short_for("generate.beam_size")
        """Short."""

    parser = make_parser("describe", "Describes.", Options, arguments="IMAGE…")
    arguments = ["a.jpg", "b.jpg", "--json-file", "o", "--seed", "2", "--beam", "3"]
    config, options = parse_arguments(parser, arguments)
    assert (options.images, options.json_file, options.top) == (["a.jpg", "b.jpg"], "o", 6)
    assert (config.seed, config.generate.beam_size) == (2, 3)
    help_text = " ".join(parser.format_help().split())
    assert "--top N Regions to show, 95 % of them (default: 6)" in help_text
    assert "--json-file FILE A file (default: none) --top" in help_text


def test_a_run_directory_brings_its_configuration(tmp_path: Path):
    made = preset("smoke").updated({"seed": 9, "stages": ["features"], "data_dir": "/data"})
    (tmp_path / "config.json").write_text(made.to_json(versions={}))
    for options in ({}, {"finished_run": True}):
        config = parse("--run-dir", str(tmp_path), **options)
        assert (config.seed, config.preset, config.data_dir) == (9, "smoke", "/data")
        assert config.stages == Config().stages
    assert parse("--run-dir", str(tmp_path), "--preset", "default").seed == 0
    assert parse("--run-dir", str(tmp_path), "--seed", "1").seed == 1


def test_a_finished_run_must_be_there(tmp_path: Path, no_packaged_model: None):
    with pytest.raises(UserError, match="--run-dir is missing: this installation has no"):
        parse(finished_run=True)
    with pytest.raises(UserError, match="there is no folder and no packaged model flickr8k"):
        parse("--run-dir", "flickr8k", finished_run=True)
    with pytest.raises(UserError, match="is not a run directory"):
        parse("--run-dir", str(tmp_path), finished_run=True)


@pytest.mark.parametrize("option", ["--run-dir", "--init-from"])
def test_a_very_long_value_is_shortened_in_the_message(option: str):
    with pytest.raises(UserError, match="x{90}…x{90}") as raised:
        parse(option, "x" * 5000, finished_run=option == "--run-dir")
    assert len(str(raised.value)) < 300


def test_the_packaged_model_takes_the_place_of_a_run(packaged_model: Path):
    for arguments in ([], ["--run-dir", "flickr8k"]):
        config = parse(*arguments, "--generate.beam_size", "5", finished_run=True)
        assert config.run_dir == str(packaged_model)
        assert config.generate.hidden_dim == 8  # of the model, not of the preset
        assert config.generate.beam_size == 5
    with pytest.raises(UserError, match="no packaged model flicker8k; did you mean flickr8k"):
        parse("--run-dir", "flicker8k", finished_run=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--prset smoke", "unknown option --prset; did you mean --preset?"),
        (
            "--algin.batch_size=4",
            "unknown option --algin.batch_size; did you mean --align.batch_size?",
        ),
        ("--zzzz 3", "unknown option --zzzz; --help lists them all"),
        ("picture.jpg", "unknown argument picture.jpg; --help lists them all"),
        (
            "--preset papr",
            "preset must be one of smoke, default, paper, best, not 'papr'; did you mean paper?",
        ),
        ("--seed x", "seed must be an integer, at least 0 and at most 4294967295, not 'x'"),
        ("--seed", "argument --seed: expected one argument; see --help"),
        ("--preset", "argument --preset: expected one argument; see --help"),
        (
            "--align.batch_size 1",
            "align.batch_size must be an integer, at least 2 and at most 1000000, not 1",
        ),
        (
            "--align.optimizer adma",
            "must be one of adam, adamw, rmsprop, sgd, not 'adma'; did you mean adam?",
        ),
        ("--stages align,ifner", "'ifner'; did you mean infer?"),
        ("--config nowhere.json", "cannot read the configuration nowhere.json: No such file"),
    ],
)
def test_mistakes_name_what_would_be_right(arguments: str, message: str):
    with pytest.raises(UserError) as raised:
        parse(*arguments.split())
    assert str(raised.value).endswith(message) or message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "c.json: a configuration must be valid JSON"),
        ('{"align": {"batchsize": 3}}', "did you mean align.batch_size?"),
        ("\udcff", "c.json: "),
    ],
)
def test_a_bad_file_is_reported(tmp_path: Path, text: str, message: str):
    (tmp_path / "c.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as raised:
        parse("--config", str(tmp_path / "c.json"))
    assert message in str(raised.value)


def test_help_explains_every_field(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name, _ in Config().flat():
        assert f"--{name if '.' in name else name.replace('_', '-')} " in text, name
    assert "default: 100)" in " ".join(text.split())
    assert "one of smoke, default, paper, best; default: default" in " ".join(text.split())
    assert "--debug Show the traceback of an error (default: false)" in " ".join(text.split())


def run_script(source: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_outputs_are_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--cache-dir: .*file is not a folder; give another place"):
        parse("--cache-dir", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", "")
    with pytest.raises(UserError, match="cannot use ~no-such-user: there is no such home folder"):
        parse("--run-dir", "~no-such-user")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current folder was deleted"):
        parse("--run-dir", "r")


@pytest.mark.parametrize(
    "command", ["describe", "search", "validate", "convert", "export", "publish"]
)
def test_every_command_checks_its_outputs(command: str, tmp_path: Path):
    (tmp_path / "file").touch()
    modules = {"export": "visem_tf.export.__main__"}
    module = importlib.import_module(modules.get(command, f"visem_tf.{command}"))
    options = {
        "describe": ["--json", "--picture"],
        "search": ["--json", "--picture"],
        "validate": ["--json"],
    }
    for output in options.get(command, ["--to"]):
        with pytest.raises(UserError, match=f"argument {output}: .*file is not a folder"):
            module.main([output, str(tmp_path / "file" / "x"), *("a", "b")])


def test_help_and_mistakes_need_no_tensorflow():
    source = """
        import sys
        from visem_tf.cli import parse_arguments, run_command
        from visem_tf.config.options import make_parser
        def main():
            try:
                parse_arguments(make_parser("fit", "Trains."))
            finally:
                print("tensorflow" in sys.modules or "keras" in sys.modules)
        run_command(main)
    """
    done = run_script(source, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("False\n")
    done = run_script(source, "--sede", "3")
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr == "visem_tf: error: unknown option --sede; did you mean --seed?\n"


def test_json_of_a_run_can_be_given_as_a_configuration(tmp_path: Path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({**preset("smoke").to_dict(), "versions": {"keras": "3"}}))
    assert parse("--config", str(file)).align == preset("smoke").align
