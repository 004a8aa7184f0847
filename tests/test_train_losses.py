"""Losses and the distances that one of them compares, against values known from geometry."""

import math
from dataclasses import replace

import pytest

from train_heads import TOY, make_label_map

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.image.volume import make_volume
from deskull.train.examples import make_plain_examples
from deskull.train.labels import make_labelled_head
from deskull.train.loop import Limits, evaluate, train
from deskull.train.losses import (
    REACH_MM,
    average,
    dice_and_cross_entropy_loss,
    dice_loss,
    distance_loss,
    hard_dice,
    soft_dice,
    to_distance,
)
from deskull.train.recipe import NO_AUGMENTATION, make_recipe
from deskull.train.run_folder import load_released
from deskull.train.sources import Sources

VOXEL_MM = 2.0


def test_losses_have_their_known_values():
    target = torch.zeros(1, 2, 4, 4, 4)
    target[:, :, :2] = 1
    sure = 40 * (target - 0.5)
    known = torch.tensor([[1.0, 0.0]])
    assert dice_and_cross_entropy_loss(sure, target, known) == pytest.approx(0, abs=1e-4)
    wrong = sure.clone()
    wrong[:, 1] *= -1  # an output that is not known does not count
    assert dice_and_cross_entropy_loss(wrong, target, known) == pytest.approx(0, abs=1e-4)
    assert dice_loss(wrong, target, known) == pytest.approx(0, abs=1e-4)
    half = torch.full_like(target, 0.5)
    nothing = dice_loss(torch.zeros_like(target), target, known)
    assert nothing == pytest.approx(1 - (2 * 16 + 1) / (16 + 32 + 1))
    assert soft_dice(half, target)[0, 0] == pytest.approx((2 * 16 + 1) / (16 + 32 + 1))
    assert hard_dice(torch.ones_like(target), target)[0, 0] == pytest.approx(65 / 97)


def make_points(shape):
    """Millimetres from the middle of a window, (X, Y, Z, 3)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * VOXEL_MM for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def blur_surface(truth):
    """Shares that pass through one half at a surface, two voxels wide."""
    return (0.5 + truth / (2 * VOXEL_MM)).clamp(0, 1)


@pytest.mark.parametrize("offset", [0.0, 0.3, -0.9])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_distance_to_a_plane_between_voxels_is_exact(axis, offset):
    truth = make_points((9, 12, 16))[..., axis] - offset
    found = to_distance(blur_surface(truth)[None], VOXEL_MM)[0]
    torch.testing.assert_close(found, truth.clamp(-REACH_MM, REACH_MM), rtol=0, atol=1e-5)


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (0.7, -0.4, 0.2)])
def test_the_distance_to_a_ball_is_known_within_a_fraction_of_a_voxel(centre):
    truth = 17.3 - (make_points((28, 28, 28)) - torch.tensor(centre)).norm(dim=-1)
    shares = blur_surface(truth)
    found = to_distance(shares[None], VOXEL_MM)[0]
    assert torch.equal(found > 0, shares > 0.5)
    near = truth.abs() < REACH_MM - VOXEL_MM
    error = (found - truth)[near] / VOXEL_MM
    assert error.abs().max() < 0.45
    assert error.square().mean().sqrt() < 0.12
    assert (error * truth[near].sign()).mean() == pytest.approx(0.05, abs=0.05)


def test_the_edge_of_the_field_is_no_surface():
    assert (to_distance(torch.ones(1, 4, 4, 4), VOXEL_MM) == REACH_MM).all()
    assert (to_distance(torch.zeros(1, 4, 4, 4), VOXEL_MM) == -REACH_MM).all()


def test_channels_have_surfaces_of_their_own():
    shares = torch.zeros(2, 6, 6, 6)
    shares[0, :2], shares[1, :, :4] = 1, 1
    both = to_distance(shares, VOXEL_MM)
    assert both[0, :4, 3, 3].tolist() == [3, 1, -1, -3]
    assert both[1, 3, 2:, 3].tolist() == [3, 1, -1, -3]


@pytest.mark.parametrize(("error", "loss"), [(0, 0), (1, 1 / 32), (-8, 2), (-16, 8), (24, 16)])
def test_the_loss_of_distances_is_quadratic_within_reach_and_linear_beyond(error, loss):
    truth = to_distance(blur_surface(make_points((8, 8, 8))[..., :2].movedim(-1, 0)), VOXEL_MM)
    answer = (truth + error)[None]
    answer[:, 1] = 99  # not known
    found = distance_loss(answer, truth.sigmoid()[None], torch.tensor([[1.0, 0.0]]))
    assert found == pytest.approx(loss, abs=1e-3)


def test_at_the_reach_any_farther_target_costs_nothing():
    answer = torch.full((1, 1, 2, 2, 2), -REACH_MM)
    for target in (0.0, 1 / (1 + math.exp(50))):
        assert distance_loss(answer, torch.full_like(answer, target), torch.ones(1, 1)) < 1e-4


@pytest.fixture(scope="module")
def sources():
    return Sources([make_labelled_head(make_volume(make_label_map()))], [])


@pytest.fixture(scope="module")
def recipe():
    fields = TOY | {"training": TOY["training"] | {"loss": "distance", "learning_rate": 0.03}}
    return replace(make_recipe(fields, name="toy"), augment=NO_AUGMENTATION)


def test_a_distance_has_the_mask_of_the_shares(sources, recipe):
    shares = replace(recipe, training=replace(recipe.training, loss="dice"))
    (_, far), (_, share) = (next(make_plain_examples(sources, r)) for r in (recipe, shares))
    assert torch.equal(far.image, share.image)
    assert torch.equal(far.target > 0.5, share.target > 0.5)
    assert share.target.max() == 1
    assert far.target.max() == pytest.approx(1 / (1 + math.exp(-REACH_MM)))


def test_training_on_distances_overfits_one_head(sources, recipe, tmp_path):
    train(sources, recipe, tmp_path, limits=Limits(80))
    assert average(evaluate(load_released(tmp_path)[1], sources, recipe))[0] > 0.75
