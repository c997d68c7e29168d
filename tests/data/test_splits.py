"""No content is ever on two sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.splits import (
    Split,
    load_split,
    released_seed,
    save_split,
    split_as_declared,
    split_by_group,
    split_digest,
)
from glintiqa_jax.errors import InputError

many_groups = st.lists(st.sampled_from("abcdefghijkl"), min_size=3, max_size=60).filter(lambda g: len(set(g)) >= 3)
fractions = st.floats(0.05, 0.45)


def check_disjoint_and_complete(split, groups):
    parts = [split.train, split.validation, split.test]
    assert all(len(part) for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
    sides = [{groups[position] for position in part} for part in parts]
    assert sum(len(side) for side in sides) == len(set(groups))


@given(many_groups, fractions, fractions, st.integers(0, 5))
def test_drawn_splits_keep_contents_together(groups, validation, test, seed):
    options = {"validation_fraction": validation, "test_fraction": test, "seed": seed}
    split = split_by_group(groups, **options)
    check_disjoint_and_complete(split, groups)
    # the order the images come in changes nothing
    backwards = split_by_group(groups[::-1], **options)
    assert {groups[i] for i in split.test} == {groups[::-1][i] for i in backwards.test}


def test_fractions_are_of_the_groups():
    split = split_by_group([str(i) for i in range(50)], validation_fraction=0.1, test_fraction=0.2, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (35, 5, 10)


def test_seeds_differ():
    groups = [str(i) for i in range(50)]
    first, second = (split_by_group(groups, validation_fraction=0.1, test_fraction=0.2, seed=s) for s in (0, 1))
    assert set(first.test) != set(second.test)


@given(many_groups, st.integers(0, 5))
def test_validation_is_held_out_of_declared_training(groups, seed):
    order = sorted(set(groups))
    declared = ["test" if group == order[0] else "train" for group in groups]
    split = split_as_declared(declared, groups, validation_fraction=0.2, seed=seed)
    check_disjoint_and_complete(split, groups)
    assert {groups[i] for i in split.test} == {order[0]}


def test_declared_splits_are_obeyed():
    split = split_as_declared(
        ["train", "validation", "test", "train"], ["a", "b", "c", "a"], validation_fraction=0.5, seed=0
    )
    assert [list(part) for part in (split.train, split.validation, split.test)] == [[0, 3], [1], [2]]


@pytest.mark.parametrize(
    ("splits", "groups", "message"),
    [
        (["train", "test", "test"], ["a", "a", "b"], "1 content groups are on two sides.*: a"),
        (["train", "train"], ["a", "b"], "no image in 'test'"),
        (["test", "validation"], ["a", "b"], "no image in 'train'"),
        (["train", "test"], ["a", "b"], "at least two content groups"),
    ],
)
def test_bad_declarations_are_refused(splits, groups, message):
    with pytest.raises(InputError, match=message):
        split_as_declared(splits, groups, validation_fraction=0.1, seed=0)


def test_too_few_contents_are_refused():
    with pytest.raises(InputError, match=r"at least 3 content groups, .* found 2: a, b"):
        split_by_group(["a", "b", "a"], validation_fraction=0.1, test_fraction=0.2, seed=0)


def test_without_validation_two_parts_are_drawn():
    split = split_by_group([str(i) for i in range(10)], validation_fraction=0, test_fraction=0.2, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (8, 0, 2)


def test_released_rounds_have_their_seeds():
    assert [released_seed(round_number) for round_number in (1, 2, 10)] == [12345, 24690, 123450]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["train", "validation", "test"])), min_size=6))
def test_published_test_images_stay_and_their_content_is_left_out_of_training(rows):
    rows = [("only train", "train"), ("only test", "test"), *rows]
    groups, declared = zip(*rows, strict=True)
    split = split_as_declared(declared, groups, validation_fraction=0, seed=0, leave_out=True)
    assert split.test.tolist() == [i for i, side in enumerate(declared) if side == "test"]
    sides = [{groups[i] for i in part} for part in (split.train, split.validation, split.test)]
    assert sum(len(side) for side in sides) == len(set.union(*sides))


def test_a_split_is_saved_and_read_again(tmp_path):
    names, groups = [f"{i}.png" for i in range(20)], [str(i // 2) for i in range(20)]
    split = split_by_group(groups, validation_fraction=0.2, test_fraction=0.3, seed=4)
    save_split(tmp_path / "split.json", split, names, "mine")
    order = np.random.default_rng(0).permutation(20)  # the database may list its images in another order
    again = load_split(tmp_path / "split.json", [names[i] for i in order], [groups[i] for i in order], "mine")
    for part in ("train", "validation", "test"):
        assert {names[i] for i in getattr(split, part)} == {names[order[i]] for i in getattr(again, part)}
    assert split_digest(split, names) == split_digest(again, [names[i] for i in order])
    assert split_digest(split, names) != split_digest(split, names[::-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "expected JSON"),
        ('{"database": "theirs", "train": [], "validation": [], "test": []}', "a split of mine, found one of theirs"),
        ("{}", "expected lists of image names called train, validation, test"),
        (
            '{"database": "mine", "train": ["0"], "validation": [], "test": ["9"]}',
            "1 of its images are not in this",
        ),
        ('{"database": "mine", "train": ["0"], "validation": ["0"], "test": ["1"]}', "'0' is named twice"),
        (
            '{"database": "mine", "train": ["0"], "validation": [], "test": ["1", "2"]}',
            "1 content groups are on two sides.*: a",
        ),
        ('{"database": "mine", "train": [], "validation": [], "test": ["1"]}', "no image in 'train'"),
    ],
)
def test_bad_split_files_are_refused(tmp_path, text, message):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_split(tmp_path / "split.json", ["0", "1", "2"], ["a", "b", "a"], "mine")
    with pytest.raises(InputError, match="expected the name of a way to split, or a file"):
        load_split(tmp_path / "nowhere.json", ["0"], ["a"], "mine")


def test_a_split_is_made_of_any_integers():
    split = Split([2, 0], (3,), np.array([], np.float64))
    assert split.train.dtype == split.test.dtype == np.int64
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == ([0, 2], [3], [])
    for wrong in ([0.5], ["a"], [[0]], 3, None):
        with pytest.raises(InputError, match=r"^split.train: expected positions, a sequence of integers, found an arr"):
            Split(wrong, [], [])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split([0, 1], [], [4]), "^split.test: expected positions from 0 to 3, found 4$"),
        (Split([0, -1], [], [2]), "^split.train: expected positions from 0 to 3, found -1$"),
        (Split([0, 0], [], [2]), "^split.train: expected each image once, found 0.png, which is in 'train'$"),
        (Split([0, 1], [2], [1]), "^split.test: expected each image once, found 1.png, which is in 'train'$"),
        (Split([0], [2], [1]), "^split: 1 content groups are on two sides .*: a; `shares_contents=True` allows"),
    ],
)
def test_a_split_that_leaks_is_refused(split, message):
    with pytest.raises(InputError, match=message):
        split.check(["0.png", "1.png", "2.png", "3.png"], ["a", "a", "b", "c"])


def test_a_split_by_image_may_be_meant():
    Split([0], [2], [1], shares_contents=True).check(["0.png", "1.png", "2.png"], ["a", "a", "b"])
