import json
import types
from pathlib import Path

import pytest

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.runs.context import Context
from visem_tf.runs.model_files import open_model_files
from visem_tf.runs.opening import open_run
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.run_state import check_unchanged
from visem_tf.stages import check_stages, run_stages


def test_records_the_whole_configuration_with_versions(tmp_path: Path):
    config = Config(seed=3)
    RunDirectory(tmp_path / "new" / "run").claim(config)
    text = (tmp_path / "new" / "run" / "config.json").read_text()
    assert Config.from_json(text) == config
    assert json.loads(text)["versions"]["tensorflow"].startswith("2.")
    assert json.loads(text)["versions"]["visem_tf"]


def test_another_configuration_is_refused_with_the_fields(tmp_path: Path):
    RunDirectory(tmp_path).claim(Config())
    before = (tmp_path / "config.json").read_bytes()
    other = Config(seed=1).updated({"align.margin": 2.0, "evaluate.beam_size": 3})
    with pytest.raises(UserError) as raised:
        RunDirectory(tmp_path).claim(other)
    assert "seed (0, now 1), align.margin (1.0, now 2.0); give another" in str(raised.value)
    assert "evaluate" not in str(raised.value)
    assert (tmp_path / "config.json").read_bytes() == before


def finished_run(folder: Path, config: Config, *stages: str, trained: bool = True) -> RunDirectory:
    run = RunDirectory(folder)
    run.claim(config)
    for stage in stages:
        run.mark_done(stage, 5.0, {})
        if trained:
            checkpoints = folder / "checkpoints" / stage / ("full_frame" * (stage == "generate"))
            checkpoints.mkdir(parents=True)
            (checkpoints / "progress.json").write_text("{}")
    return run


def test_a_finished_training_may_be_longer(tmp_path: Path):
    stages = ("features", "align", "infer", "generate", "evaluate")
    run = finished_run(tmp_path, Config(), *stages)
    with pytest.raises(UserError, match="align.epochs"):
        run.claim(Config().updated({"align.epochs": 20, "stages": ["evaluate"]}))
    with pytest.raises(UserError, match="align.epochs"):
        run.claim(Config().updated({"align.epochs": 3}))
    with pytest.raises(UserError, match="seed"):
        run.claim(Config().updated({"align.epochs": 20, "seed": 4}))
    assert all(run.is_done(stage) for stage in stages)
    longer = Config().updated({"align.epochs": 20})
    run.claim(longer)
    assert [stage for stage in stages if run.is_done(stage)] == ["features", "generate"]
    assert run.config() == longer
    run.mark_done("align", 2.0, {})
    assert run.timing()["align_s"] == 7.0  # of both parts
    run.claim(longer)
    assert run.is_done("align")
    run.mark_done("infer", 2.0, {})
    run.claim(longer.updated({"generate.epochs": 30, "generate.patience": 30}))
    assert run.is_done("infer") and not run.is_done("generate")


def test_training_on_cider_may_begin_later_and_go_on(tmp_path: Path):
    run = finished_run(tmp_path, Config(), "align", "generate", "evaluate")
    for name, value in (("cider_patience", 9), ("cider_samples", 7)):  # without such a training
        with pytest.raises(UserError, match=name):
            run.claim(Config().updated({f"generate.{name}": value}))
    assert run.is_done("generate")
    longer = Config().updated({"generate.cider_epochs": 2, "generate.cider_learning_rate": 1e-4})
    run.claim(longer)
    assert [stage for stage in ("align", "generate", "evaluate") if run.is_done(stage)] == ["align"]
    assert run.config() == longer
    check_unchanged(tmp_path, longer)
    with pytest.raises(UserError, match="cider_learning_rate"):
        run.claim(longer.updated({"generate.cider_learning_rate": 2e-4}))
    run.mark_done("generate", 1.0, {})
    run.claim(longer.updated({"generate.cider_epochs": 3}))
    assert not run.is_done("generate")


def test_self_training_may_begin_after_the_cnn_was_trained_and_go_on(tmp_path: Path):
    tuned = Config().updated({"align.finetune_epochs": 1})
    run = finished_run(tmp_path, tuned, "align", "infer", "generate")
    longer = tuned.updated({"align.self_training_epochs": 2, "align.self_training_weight": 3.0})
    run.claim(longer)
    assert [stage for stage in ("align", "infer", "generate") if run.is_done(stage)] == ["generate"]
    run.mark_done("align", 1.0, {})
    (tmp_path / "checkpoints" / "self_training").mkdir()
    run.claim(longer.updated({"align.self_training_epochs": 3}))
    assert not run.is_done("align")
    run.mark_done("align", 1.0, {})
    with pytest.raises(UserError, match="align.epochs cannot be raised, because the alignment"):
        run.claim(run.config().updated({"align.epochs": 20}))


@pytest.mark.parametrize(
    ("before", "raised", "options", "message"),
    [
        ({}, {"align.epochs": 20}, {"trained": False}, "without the state of their optimizers"),
        ({"align.finetune_epochs": 1}, {"align.epochs": 20}, {}, "trained further after this"),
        (
            {"regions.proposer": "trained", "propose.epochs": 1},
            {"propose.epochs": 2},
            {},
            "was trained on the regions of this proposer",
        ),
    ],
)
def test_a_training_that_cannot_go_on(tmp_path, before, raised, options, message):
    config = Config().updated(before)
    run = finished_run(tmp_path, config, "align", **options)
    with pytest.raises(UserError, match=message):
        run.claim(config.updated(raised))
    assert run.is_done("align") and run.config() == config


@pytest.mark.parametrize("training", ["finetune", "self_training"])
def test_an_alignment_that_is_trained_further_cannot_go_on(tmp_path, training):
    run = RunDirectory(tmp_path)
    run.claim(Config())
    folder = tmp_path / "checkpoints" / training
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text("{}")
    with pytest.raises(UserError, match="align.epochs cannot be raised, .* trained further after"):
        run.claim(Config().updated({"align.epochs": 99}))


def test_fields_that_change_no_result_are_free(tmp_path: Path):
    RunDirectory(tmp_path).claim(Config())
    other = Config(run_dir="r", cache_dir="c", data_dir="d", stages=("align",), strict=True)
    RunDirectory(tmp_path).claim(other.updated({"distribute.replicas": 2, "evaluate.split": "val"}))


def test_other_data_are_refused(tmp_path: Path):
    RunDirectory(tmp_path).claim_data("abc")
    run = RunDirectory.__new__(RunDirectory)
    run.path = tmp_path
    run.claim_data("abc")
    with pytest.raises(UserError, match="made from other data"):
        run.claim_data("abd")


def test_state_is_kept(tmp_path: Path):
    run = RunDirectory(tmp_path)
    run.claim(Config())
    assert not run.is_done("align")
    assert run.timing() == {}
    run.add_time("align", 1.5)
    assert not run.is_done("align")
    assert run.timing() == {}
    run.mark_done("align", 2.0, {"loss": 0.5})
    again = RunDirectory(tmp_path)
    assert again.is_done("align")
    assert again.timing() == {"align_s": 3.5}
    assert again.summary("align") == {"loss": 0.5}
    again.mark_done("align", 1.0, {})
    assert again.timing() == {"align_s": 1.0}


def test_what_is_no_run_directory_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file; give a folder"):
        RunDirectory(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be made"):
        RunDirectory(tmp_path / "file" / "below")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"has metrics.json but no config.json"):
        RunDirectory(tmp_path)
    assert (tmp_path / "metrics.json").read_text() == "{}"


def test_a_folder_with_only_a_log_can_be_used(tmp_path: Path):
    (tmp_path / "log.txt").write_text("x")
    RunDirectory(tmp_path).claim(Config())


@pytest.mark.parametrize("text", ["{", '{"name": "another program"}', "\udcff"])
def test_a_foreign_config_is_refused_and_kept(tmp_path: Path, text: str):
    content = text.encode("utf-8", "surrogateescape")
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match="cannot be used"):
        RunDirectory(tmp_path).claim(Config())
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_device_in_the_place_of_a_config_is_refused(tmp_path: Path):
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"config.json cannot be used .*; give another"):
        RunDirectory(tmp_path).claim(Config())


def write_old_config(folder: Path, **changes: object) -> None:
    """Writes the configuration that version 0.1.0 recorded."""
    config = json.loads((Path(__file__).parent / "config-0.1.0.json").read_text())
    config["align"] |= changes
    (folder / "config.json").write_text(json.dumps(config))


def test_the_configuration_of_an_older_version_is_read(tmp_path: Path):
    write_old_config(tmp_path)
    config = RunDirectory(tmp_path).recorded_config()
    assert (config.dataset, config.align.epochs) == ("scenes/smoke", 3)
    RunDirectory(tmp_path).claim(config)
    with pytest.raises(UserError, match="another configuration: align.margin"):
        RunDirectory(tmp_path).claim(config.updated({"align.margin": 6.0}))


def test_an_older_configuration_that_no_longer_works_is_refused_in_one_line(tmp_path: Path):
    write_old_config(tmp_path, bucket_batches=4)
    with pytest.raises(UserError, match="align.bucket_batches is 4, but this version") as raised:
        RunDirectory(tmp_path).recorded_config()
    assert "\n" not in str(raised.value)


def test_a_broken_state_is_told(tmp_path: Path):
    run = RunDirectory(tmp_path)
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(UserError, match=r"state.json is damaged .*; delete it"):
        run.is_done("align")
    for stages in (
        "[]",
        '{"align": 3}',
        '{"align": {"done": "yes"}}',
        '{"align": {"seconds": []}}',
    ):
        (tmp_path / "state.json").write_text(f'{{"stages": {stages}}}')
        with pytest.raises(UserError, match=r"its entry stages.* must be .*; delete it to run"):
            run.is_done("align")
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"state.json is damaged"):
        run.is_done("align")


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Replaces the stage modules; returns the log of calls and what each stage does."""
    work: dict = {"calls": []}

    def load(name: str) -> types.SimpleNamespace:
        stage = name.rpartition(".")[2]

        def run(context: Context) -> dict:
            work["calls"].append(stage)
            return work[stage]() if stage in work else {"of": stage}

        return types.SimpleNamespace(run=run)

    monkeypatch.setattr("visem_tf.stages.importlib.import_module", load)
    return work


def context(path: Path, **fields) -> Context:
    config = Config().updated(fields)
    run = RunDirectory(path)
    run.claim(config)
    return Context(config=config, run=run, data=None, strategy=None)  # type: ignore[arg-type]


def test_stages_run_in_order_once(tmp_path: Path, stages: dict):
    lines: list[str] = []
    run_stages(context(tmp_path, stages=["infer", "align", "features"]), progress=lines.append)
    run_stages(context(tmp_path), progress=lines.append, again=["features"])
    assert stages["calls"] == [
        *("features", "align", "infer"),
        *("features", "generate", "evaluate", "report", "export"),
    ]
    assert "[2/7] align: finished before, skipped" in lines
    assert RunDirectory(tmp_path).summary("export") == {"of": "export"}


def test_a_proposer_is_trained_first_if_at_all(tmp_path: Path, stages: dict):
    lines: list[str] = []
    run_stages(context(tmp_path / "without"), progress=lines.append)
    assert "propose" not in stages["calls"] and lines[0] == "[1/7] features: started"
    stages["calls"].clear()
    trained = {"propose.epochs": 1, "regions.proposer": "trained"}
    with pytest.raises(UserError, match="stage features needs stage propose, which is not"):
        run_stages(context(tmp_path / "with", **trained, stages=["features"]))
    run_stages(context(tmp_path / "with", **trained), progress=lambda _: None)
    assert stages["calls"][:2] == ["propose", "features"] and len(stages["calls"]) == 8


def test_an_interrupted_stage_runs_again_and_keeps_its_time(tmp_path: Path, stages: dict):
    def interrupt() -> dict:
        raise KeyboardInterrupt

    stages["align"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_stages(context(tmp_path, stages=["features", "align"]), progress=lambda _: None)
    run = RunDirectory(tmp_path)
    assert (run.is_done("features"), run.is_done("align")) == (True, False)
    run.add_time("align", 100.0)
    del stages["align"]
    run_stages(context(tmp_path, stages=["features", "align"]), progress=lambda _: None)
    assert stages["calls"] == ["features", "align", "align"]
    assert run.timing()["align_s"] >= 100


def test_a_stage_without_its_input_is_refused_before_anything_runs(tmp_path: Path, stages: dict):
    with pytest.raises(UserError, match="stage infer needs stage align, .* add align to --stages"):
        run_stages(context(tmp_path, stages=["features", "infer"]), progress=lambda _: None)
    assert stages["calls"] == []
    run_stages(
        context(tmp_path / "b", stages=["features", "generate"], generate={"regions": False}),
        progress=lambda _: None,
    )


def test_captions_alone_and_alignment_alone_can_be_evaluated_and_exported(
    tmp_path: Path, stages: dict
):
    later = ["evaluate", "report", "export"]
    run_stages(context(tmp_path / "a", stages=["features", "align", *later]), progress=str)
    fields = {"stages": ["features", "generate", *later], "generate": {"regions": False}}
    run_stages(context(tmp_path / "b", **fields), progress=str)
    assert stages["calls"] == ["features", "align", *later, "features", "generate", *later]
    with pytest.raises(UserError, match="stage export needs stage align or generate, which is not"):
        run_stages(context(tmp_path / "c", stages=["features", "export"]))


def test_stages_that_cannot_run_claim_no_folder(tmp_path: Path):
    with pytest.raises(UserError, match="stage infer needs stage align"):
        check_stages(Config(run_dir=str(tmp_path / "new"), stages=("infer",)))
    assert not (tmp_path / "new").exists()
    run = RunDirectory(tmp_path / "old")
    run.claim(Config())
    run.mark_done("align", 1.0, {})
    check_stages(Config(run_dir=str(tmp_path / "old"), stages=("infer",)))


def test_data_that_cannot_be_read_claim_no_folder(tmp_path: Path):
    places = {"run_dir": str(tmp_path / "run"), "data_dir": str(tmp_path / "absent")}
    with pytest.raises(UserError, match="absent"):
        open_run(Config(dataset="flickr8k", **places))
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_configuration_that_was_edited_in_place_is_refused(tmp_path: Path):
    run = RunDirectory(tmp_path)
    run.claim(Config())
    before = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(before.replace('"margin": 1.0', '"margin": 0.5'))
    message = r"config.json was changed after the run was started: align.margin \(was 1.0, is 0.5\)"
    with pytest.raises(UserError, match=message):
        run.claim(Config().updated({"align.margin": 0.5}))
    with pytest.raises(UserError, match=message):
        open_model_files(tmp_path).recorded_config()
    (tmp_path / "config.json").write_text(before.replace('"split": "test"', '"split": "val"'))
    assert open_model_files(tmp_path).recorded_config().evaluate.split == "val"
    (tmp_path / "state.json").unlink()  # a run of an earlier version
    (tmp_path / "config.json").write_text(before.replace('"margin": 1.0', '"margin": 0.5'))
    assert run.config().align.margin == 0.5
