"""Pictures and scenes: boxes are tight, seeds decide everything, families share their words."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest

from visem_tf.datasets.scenes import world
from visem_tf.datasets.scenes.relations import pair_relations, places
from visem_tf.datasets.scenes.renderer import encode_jpeg, render
from visem_tf.datasets.scenes.sampling import GROUP_SIZE, image_rng, sample_scene
from visem_tf.datasets.scenes.shapes import full_box
from visem_tf.datasets.scenes.visibility import find_visible, tight_box

PIXEL = 1 / world.IMAGE_SIZE


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(0, "train", i) for i in range(200)]


def _recoloured(scene, number, colour):
    item = dataclasses.replace(
        scene.objects[number], colour=colour, texture="plain", material="matt"
    )
    objects = [*scene.objects]
    objects[number] = item
    return dataclasses.replace(scene, objects=tuple(objects))


def test_boxes_are_those_of_the_pixels_that_an_object_colours(scenes):
    """Paints one object in two colours: what differs between the pictures is the object."""
    for scene in scenes[:15]:
        boxes = find_visible(scene).boxes
        for number in range(len(scene.objects)):
            yellow, blue = (
                render(_recoloured(scene, number, colour)).astype(int)[..., 0]
                for colour in ("yellow", "blue")
            )
            change = yellow - blue
            mask = change > 0.4 * np.percentile(change[change > 0], 90)
            rows, columns = np.nonzero(mask)
            box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            np.testing.assert_allclose(np.multiply(box, PIXEL), boxes[number], atol=1.01 * PIXEL)


def test_objects_are_big_enough_and_mostly_visible(scenes):
    for scene in scenes:
        view = find_visible(scene)
        assert 2 <= len(scene.objects) <= 5
        assert view.visible_share.min() >= 0.55
        assert (view.boxes >= 0).all()
        assert (view.boxes <= 1).all()
        for item in scene.objects:
            assert (0.19 <= item.side <= 0.27) if item.size == "small" else (item.side >= 0.36)
            assert item.side <= 0.5
            assert item.colour not in world.BACKGROUND_COLOURS[scene.background]
            box = full_box(item)
            assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(item.side)


def test_some_objects_overlap_and_some_stick_out(scenes):
    overlapping = [pair_relations(find_visible(scene))["in_front_of"].any() for scene in scenes]
    outside = [any("cut_off" in p for p in places(s, find_visible(s))) for s in scenes]
    assert 0.1 < np.mean(overlapping) < 0.5
    assert 0.1 < np.mean(outside) < 0.6


def test_every_value_occurs(scenes):
    items = [item for scene in scenes for item in scene.objects]
    assert {item.shape for item in items} == {*world.SHAPES}
    assert {item.colour for item in items} == {*world.COLOURS}
    assert {(item.texture, item.material) for item in items} == {*world.SURFACES}
    assert {scene.background for scene in scenes} == {*world.BACKGROUNDS}


def _multisets(scene):
    names = ("shape", "colour", "size")
    found = [collections.Counter(getattr(o, name) for o in scene.objects) for name in names]
    return [*found, collections.Counter((o.texture, o.material) for o in scene.objects)]


def test_families_share_their_words_and_differ_in_bindings(scenes):
    families = 0
    for start in range(0, len(scenes), GROUP_SIZE):
        members = scenes[start : start + GROUP_SIZE]
        if all(_multisets(member) == _multisets(members[0]) for member in members):
            families += 1
            assert len({member.background for member in members}) == 1
            bindings = {frozenset((o.shape, o.colour) for o in m.objects) for m in members}
            assert len(bindings) == GROUP_SIZE
    assert 0.35 < families / (len(scenes) / GROUP_SIZE) < 0.65


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 5)])
def test_family_share_decides(share, expected):
    found = 0
    for group in range(5):
        members = [sample_scene(3, "test", 4 * group + i, share) for i in range(GROUP_SIZE)]
        found += all(_multisets(member) == _multisets(members[0]) for member in members)
    assert found == expected


def test_same_seed_same_bytes_whatever_was_made_before():
    fresh = encode_jpeg(render(sample_scene(5, "val", 6)))
    for index in range(9):
        render(sample_scene(5, "val", index))
    assert encode_jpeg(render(sample_scene(5, "val", 6))) == fresh


def test_seed_split_and_index_all_matter():
    scenes = [sample_scene(*key) for key in [(0, "val", 1), (1, "val", 1), (0, "test", 1)]]
    assert len({scene.paint_seed for scene in [*scenes, sample_scene(0, "val", 2)]}) == 4


def test_pictures_have_their_size_and_type():
    picture = render(sample_scene(0, "test", 0))
    assert picture.shape == (224, 224, 3)
    assert picture.dtype == np.uint8
    assert encode_jpeg(picture)[:2] == b"\xff\xd8"


def test_later_objects_hide_earlier_ones():
    item = world.SceneObject("square", "red", "big", "plain", "matt", 0.5, 0.5, 0.5, 0.0)
    small = dataclasses.replace(item, colour="blue", size="small", side=0.25, centre_x=0.25)
    scene = world.Scene("snow", (item, small), paint_seed=0)
    view = find_visible(scene)
    assert view.visible_share == pytest.approx([1 - 0.125, 1], abs=0.02)
    assert tight_box(view.covered[0]) == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=PIXEL)
    relations = pair_relations(view)
    assert relations["in_front_of"].tolist() == [[False, False], [True, False]]
    assert relations["behind"].tolist() == [[False, True], [False, False]]
    assert relations["left_of"].tolist() == [[False, False], [True, False]]
    assert not relations["beside"].any()
    picture = render(scene)
    assert picture[112, 60].argmax() == 2  # blue in front
    assert picture[112, 140].argmax() == 0


def test_an_object_outside_is_clipped():
    item = world.SceneObject("square", "red", "big", "plain", "matt", 0.4, 0.1, 0.5, 0.0)
    scene = world.Scene("snow", (item,), paint_seed=0)
    assert full_box(item) == pytest.approx([-0.1, 0.3, 0.3, 0.7])
    assert find_visible(scene).boxes[0] == pytest.approx([0, 0.3, 0.3, 0.7], abs=PIXEL)
    assert places(scene, find_visible(scene)) == [{"top", "cut_off"}]


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match="split must be one of train, val, test"):
        sample_scene(0, "dev", 0)
    with pytest.raises(ValueError, match="index must not be negative"):
        image_rng(0, "val", -1, "text")
