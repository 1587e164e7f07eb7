"""`python -m visem_tf.validate`: a good data set passes, and every damage to one is named."""

import json
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

import dummy_data
from dummy_data import precomputed as features
from visem_tf import validate
from visem_tf.errors import UserError

PICTURES = dummy_data.draw_images(train=20, val=3, test=3)
TRAIN = [p.name for p in PICTURES if p.split == "train"]
TEST = [p.name for p in PICTURES if p.split == "test"]


def run(capsys, *arguments):
    """Returns the exit status and what was printed."""
    try:
        validate.main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().out


@pytest.fixture
def flickr8k(tmp_path):
    dummy_data.write("flickr8k", tmp_path / "data", PICTURES)
    return tmp_path / "data"


def edit(path, change):
    path.write_bytes(change(path.read_bytes()))


def line_of(name, number):
    """The bytes of a line of the token file."""
    picture = next(p for p in PICTURES if p.name == name)
    return f"{name}#{number}\t{picture.sentences[number]}\n".encode()


class Damages:
    """Twenty ways to damage a Flickr8K, each with what must be said of it."""

    def __init__(self, root):
        self.root = root
        self.pictures = root / "Flicker8k_Dataset"
        self.tokens = root / "Flickr8k.token.txt"
        self.train = root / "Flickr_8k.trainImages.txt"

    def all(self):
        yield self.missing, f"train: {TRAIN[0]}: not in Flicker8k_Dataset"
        yield self.empty, f"train: {TRAIN[1]}: the file is empty"
        yield self.text, f"train: {TRAIN[2]}: not an image in a known format"
        yield self.truncated, f"train: {TRAIN[3]}: damaged image"
        yield self.only_a_header, f"train: {TRAIN[4]}: "
        yield self.floats, f"train: {TRAIN[5]}: 32-bit or floating-point pixels"
        yield self.bomb, f"train: {TRAIN[6]}: more than 108,000,000 pixels"
        yield self.copied_into_test, f"{TEST[0]} (test) is the same file as {TRAIN[7]} (train)"
        yield self.copied_in_train, f"{TRAIN[9]} (train) is the same file as {TRAIN[8]} (train)"
        yield self.no_sentences, f"train: {TRAIN[10]}: no sentences"
        yield self.no_words, f"dropped sentences without words: '. ! ?' of {TRAIN[11]}"
        yield self.no_tab, "skipped 1 lines that are not name#number<TAB>caption: 61"
        yield self.same_number, f"kept captions that share a number: {TRAIN[13]}#0"
        yield self.latin_1, "lines that are not UTF-8 were read as Latin-1: 71"
        yield self.replacement, f"a wrong encoding leaves behind: {TRAIN[15]}#0 (train)"
        yield self.bad_name, f"captions of {TRAIN[16]}.1 were taken as those of {TRAIN[16]}"
        yield self.in_two_splits, f"{TEST[1]} is in train and test: kept in test"
        yield self.twice_in_a_split, "Flickr_8k.trainImages.txt names some images more than once"
        yield self.unknown_in_split, "train: nowhere.jpg: not in Flicker8k_Dataset"
        yield self.outside, "train: ../Flickr8k.token.txt: leads out of the folder of images"

    def missing(self):
        (self.pictures / TRAIN[0]).unlink()

    def empty(self):
        (self.pictures / TRAIN[1]).write_bytes(b"")

    def text(self):
        (self.pictures / TRAIN[2]).write_text("<html>404 Not Found</html>")

    def truncated(self):
        edit(self.pictures / TRAIN[3], lambda data: data[: len(data) * 2 // 3])

    def only_a_header(self):
        edit(self.pictures / TRAIN[4], lambda data: data[:10])

    def floats(self):
        Image.fromarray(np.zeros((4, 4), np.float32)).save(self.pictures / TRAIN[5], "TIFF")

    def bomb(self):
        # A PNG whose header claims a hundred thousand pixels a side.
        header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        data = b"\x89PNG\r\n\x1a\n" + block(header) + block(b"IDAT" + zlib.compress(bytes(9)))
        (self.pictures / TRAIN[6]).write_bytes(data)

    def copied_into_test(self):
        shutil.copy(self.pictures / TRAIN[7], self.pictures / TEST[0])

    def copied_in_train(self):
        shutil.copy(self.pictures / TRAIN[8], self.pictures / TRAIN[9])

    def no_sentences(self):
        for number in range(5):
            line = line_of(TRAIN[10], number)
            edit(self.tokens, lambda data, line=line: data.replace(line, b"\n"))

    def no_words(self):
        line = f"{TRAIN[11]}#2\t. ! ?\n".encode()
        edit(self.tokens, lambda data: data.replace(line_of(TRAIN[11], 2), line))

    def no_tab(self):
        line = line_of(TRAIN[12], 0)
        edit(self.tokens, lambda data: data.replace(line, line.replace(b"\t", b" ")))

    def same_number(self):
        line = line_of(TRAIN[13], 1)
        edit(self.tokens, lambda data: data.replace(line, line.replace(b"#1", b"#0")))

    def latin_1(self):
        line = f"{TRAIN[14]}#0\tA café .\n".encode("latin-1")
        edit(self.tokens, lambda data: data.replace(line_of(TRAIN[14], 0), line))

    def replacement(self):
        line = f"{TRAIN[15]}#0\tA caf\ufffd .\n".encode()
        edit(self.tokens, lambda data: data.replace(line_of(TRAIN[15], 0), line))

    def bad_name(self):
        name = f"{TRAIN[16]}#".encode()
        edit(self.tokens, lambda data: data.replace(name, name.replace(b"#", b".1#")))

    def in_two_splits(self):
        edit(self.train, lambda data: data + f"{TEST[1]}\n".encode())

    def twice_in_a_split(self):
        edit(self.train, lambda data: data + f"{TRAIN[17]}\n".encode())

    def unknown_in_split(self):
        edit(self.train, lambda data: data + b"nowhere.jpg\n")

    def outside(self):
        edit(self.train, lambda data: data + b"../Flickr8k.token.txt\n")


def block(content):
    """A block of a PNG, its kind first."""
    size, checksum = len(content) - 4, zlib.crc32(content)
    return size.to_bytes(4, "big") + content + checksum.to_bytes(4, "big")


def test_a_good_data_set_passes_with_its_sums(flickr8k, capsys):
    status, out = run(
        capsys, "--dataset", "flickr8k", "--data-dir", flickr8k, "--text.min_count", "1"
    )
    assert status == 0
    lines = out.splitlines()
    assert lines[-1] == "nothing is wrong"
    assert not any(line.startswith(("problem", "remark")) for line in lines)
    assert lines[1].split() == ["train", "20", "100", "5,", "5,", "5", *lines[1].split()[6:]]
    assert lines[1].endswith(" 0.00 %")
    words = {
        word
        for p in PICTURES
        if p.split == "train"
        for s in p.sentences
        for word in s.lower().replace(".", "").replace(",", "").split()
    }
    assert f"vocabulary: {len(words)} of {len(words)} words occur 1 times" in out
    assert "images: width 224, 224, 224, height 224, 224, 224" in out


def test_every_one_of_twenty_damages_is_named(flickr8k, capsys, tmp_path):
    damages = list(Damages(flickr8k).all())
    assert len(damages) == 20
    for damage, _ in damages:
        damage()
    found = tmp_path / "found.json"
    status, out = run(capsys, "--dataset", "flickr8k", "--data-dir", flickr8k, "--json", found)
    assert status == 1
    for damage, expected in damages:
        assert expected in out, damage.__name__
    report = json.loads(found.read_text())
    assert all(f"problem: {line}" in out for line in report["problems"])
    assert out.splitlines()[-1] == f"{len(report['problems'])} problems"
    assert report["splits"]["train"]["pictures"] == 12
    assert not list(flickr8k.rglob("*.tfrecord*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_each_damage_alone_is_a_problem(flickr8k, capsys, number):
    damage, expected = list(Damages(flickr8k).all())[number]
    damage()
    status, out = run(capsys, "--dataset", "flickr8k", "--data-dir", flickr8k)
    assert status == 1
    problems = [line for line in out.splitlines() if line.startswith("problem: ")]
    # A picture without its caption lines, and a line that lost its name, show twice.
    assert len(problems) == 1
    assert expected in problems[0]


def test_all_lines_are_listed_not_just_some(flickr8k, capsys):
    edit(flickr8k / "Flickr8k.token.txt", lambda data: data + b"no tab\n" * 40)
    _, out = run(capsys, "--dataset", "flickr8k", "--data-dir", flickr8k)
    [problem] = [line for line in out.splitlines() if "skipped 40 lines" in line]
    assert problem.endswith(": " + ", ".join(str(131 + n) for n in range(40)))


def test_nothing_in_the_data_steers_the_terminal(tmp_path, capsys):
    dummy_data.write("captions_txt", tmp_path / "data", PICTURES)
    path = tmp_path / "data" / "captions.txt"
    path.write_text(path.read_text(encoding="utf-8") + "a\x1b[2Jb.jpg,A dog\n", encoding="utf-8")
    _, out = run(capsys, "--dataset", "captions_txt", "--data-dir", tmp_path / "data")
    assert "a\ufffd[2Jb.jpg" in out
    assert "\x1b" not in out


def test_bad_boxes_are_named(tmp_path, capsys):
    folder = tmp_path / "data"
    dummy_data.write("coco_json", folder, PICTURES)
    regions = json.loads((folder / "regions.json").read_text())
    regions["annotations"][0]["bbox"] = [500, 0, 5, 5]
    regions["annotations"][1]["bbox"] = [-20, 0, 60, 50]
    (folder / "regions.json").write_text(json.dumps(regions))
    status, out = run(capsys, "--dataset", "coco_json", "--data-dir", folder)
    assert status == 1
    assert f"{PICTURES[0].name}: dropped boxes that are empty, swapped or outside: 1" in out
    assert f"{PICTURES[0].name}: cut boxes that reach out of the image: 1" in out


def test_precomputed_features_are_read_in_the_place_of_pictures(tmp_path, capsys):
    folder = tmp_path / "features"
    folder.mkdir()
    features.write_precomp(folder, PICTURES)
    command = ("--dataset", "precomputed", "--data-dir", folder)
    status, out = run(capsys, *command)
    assert status == 0 and "remark: the features have no boxes" in out
    assert "read 26 images" in out
    vectors = np.load(folder / "dev_ims.npy")
    vectors[1, 2, 3] = np.nan
    vectors[2, 0, 0] = 1e6
    np.save(folder / "dev_ims.npy", vectors)
    status, out = run(capsys, *command)
    assert status == 1 and "2 problems" in out
    assert "problem: val-1 (val): features with NaN or infinity" in out
    assert "problem: val-2 (val): features beyond 65504" in out
    (folder / "dev_ims.npy").write_bytes(b"no array")
    status, out = run(capsys, *command)
    assert status == 1 and "problem: cannot read" in out and "dev_ims.npy" in out
    with pytest.raises(UserError, match="is not a folder"):
        validate.main(["--dataset", "precomputed", "--data-dir", str(tmp_path / "nowhere")])


def test_files_that_cannot_be_understood_are_a_problem_of_the_data(flickr8k, capsys):
    (flickr8k / "Flickr8k.token.txt").unlink()
    status, out = run(capsys, "--dataset", "flickr8k", "--data-dir", flickr8k)
    assert status == 1
    assert "problem: " in out
    assert "has no Flickr8k.token.txt or captions.txt" in out


def test_mistakes_in_the_command_are_the_users(flickr8k, tmp_path):
    for arguments in (
        ["--dataset", "flickr9k", "--data-dir", str(flickr8k)],
        ["--dataset", "flickr8k"],
        ["--dataset", "flickr8k", "--data-dir", str(tmp_path / "nowhere")],
        ["--dataset", "flickr8k", "--data-dir", str(flickr8k), "--data.features", "x"],
    ):
        with pytest.raises(UserError):
            validate.main(arguments)


def test_decisions_and_loose_pictures_are_remarks(tmp_path, capsys):
    folder = tmp_path / "data"
    dummy_data.write("captions_txt", folder, PICTURES)
    for split in ("train", "val", "test"):
        (folder / f"{split}.txt").unlink()
    shutil.copy(folder / "images" / TRAIN[0], folder / "images" / "loose.jpg")
    status, out = run(capsys, "--dataset", "captions_txt", "--data-dir", folder)
    assert status == 0
    assert "remark: 1 images are not used: loose.jpg" in out
    assert "remark: splits were made at random with data.split_seed 0: 20 train, 3 val, 3" in out


def test_paths_may_begin_with_the_home_folder(tmp_path, monkeypatch, capsys):
    dummy_data.write("captions_txt", tmp_path / "data", PICTURES)
    (tmp_path / "data" / "images").rename(tmp_path / "photos")
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = ["--dataset", "captions_txt", "--data-dir", "~/data"]
    assert run(capsys, *arguments, "--data.pictures", "~/photos")[0] == 0


@pytest.mark.parametrize("option", ["pictures", "captions"])
def test_a_missing_file_on_the_command_line_is_no_problem_of_the_data(tmp_path, option):
    arguments = ["--dataset", "captions_txt", "--data-dir", str(tmp_path)]
    with pytest.raises(UserError, match=f"there is no .*/absent; correct --data.{option}"):
        validate.main([*arguments, f"--data.{option}", "absent"])
