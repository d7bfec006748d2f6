"""The hierarchical loss against hand-made numbers, finite differences and its own symmetries."""

import math

import pytest
import torch
from torch.nn import functional as F

from hivlp.objectives.retrieval import consistency, contrastive, hierarchical, positives

DIAGONAL = torch.eye(2, dtype=torch.bool)


def units(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)


def test_contrastive_of_two_pairs_by_hand():
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    rows = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2))) / 2
    columns = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2
    assert contrastive(logits, DIAGONAL).item() == pytest.approx((rows + columns) / 2, abs=1e-6)


def test_several_captions_of_a_picture_share_the_target_by_hand():
    # one picture with two captions, all logits equal: each direction can be told exactly
    logits = torch.zeros(1, 2)
    positive = torch.tensor([[True, True]])
    assert contrastive(logits, positive).item() == pytest.approx(0.5 * (math.log(2) + 0.0), abs=1e-6)


def test_captions_of_one_picture_are_not_negatives_of_each_other():
    """Moving a sibling caption nearer to its picture must not raise the loss of the other caption's side."""
    positive = torch.tensor([[True, True, False], [False, False, True]])
    near = torch.tensor([[4.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
    far = torch.tensor([[4.0, -4.0, 0.0], [0.0, 0.0, 4.0]])
    assert contrastive(near, positive) < contrastive(far, positive)


def test_pictures_without_captions_serve_as_negatives_only():
    logits = torch.tensor([[3.0], [1.0]])
    positive = torch.tensor([[True], [False]])
    # picture to text: only the captioned picture counts, and it has one text to choose from
    assert contrastive(logits, positive).item() == pytest.approx(0.5 * math.log(1 + math.exp(-2)), abs=1e-6)


def test_hierarchical_is_the_mean_over_levels_of_the_plain_loss():
    image, text = units(5, 8), units(5, 8, seed=1)
    levels = {4: F.normalize(image[:, :4], dim=-1), 8: image}, {4: F.normalize(text[:, :4], dim=-1), 8: text}
    scales = {4: torch.tensor(7.0), 8: torch.tensor(12.0)}
    positive = torch.eye(5, dtype=torch.bool)
    terms = hierarchical(*levels, positive, scales, level_weights=(0.5, 2.0))
    by_hand = [
        0.5 * weight * contrastive(scales[width] * levels[0][width] @ levels[1][width].T, positive)
        for width, weight in ((4, 0.5), (8, 2.0))
    ]
    assert list(terms) == ["hrl_4", "hrl_8"]
    torch.testing.assert_close(torch.stack(list(terms.values())), torch.stack(by_hand))


def test_consistency_is_zero_for_equal_levels_and_leaves_the_teacher_alone():
    logits = (10 * units(4, 6) @ units(4, 6, seed=1).T).requires_grad_()
    teacher = logits.detach().clone().requires_grad_()
    assert consistency(logits, teacher).item() == pytest.approx(0.0, abs=1e-12)
    consistency(logits + torch.arange(4.0), teacher).backward()
    assert teacher.grad is None
    assert logits.grad is not None and logits.grad.abs().sum() > 0


def test_consistency_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    forward = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    # the other way round there is one column of one row each, whose distributions are certain
    assert consistency(student, teacher).item() == pytest.approx(0.5 * forward, abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_gradient_equals_finite_differences(weight: float):
    image, text = units(3, 6).requires_grad_(), units(4, 6, seed=1).requires_grad_()
    positive = positives(torch.arange(3), torch.tensor([0, 1, 2, 2]))

    def loss(image: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        pictures, texts = (
            {3: F.normalize(x[:, :3], dim=-1), 6: F.normalize(x, dim=-1)} for x in (image, text)
        )
        scales = {3: log_scale[0].exp(), 6: log_scale[1].exp()}
        # the fine level leads without gradient, so only its own part of the loss is differentiable through it
        return torch.stack(
            list(hierarchical(pictures, texts, positive, scales, consistency_weight=0.0).values())
        ).sum()

    log_scale = torch.tensor([1.0, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (image, text, log_scale))
    if weight:
        teacher = (5 * units(3, 4, seed=3)).detach()
        logits = units(3, 4, seed=4).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: weight * consistency(x, teacher), (logits,))


def test_order_of_the_batch_does_not_matter():
    image, text = {8: units(6, 8)}, {8: units(6, 8, seed=1)}
    scale, order = {8: torch.tensor(10.0)}, torch.tensor([3, 0, 5, 1, 2, 4])
    owner = torch.arange(6)
    straight = hierarchical(image, text, positives(owner, owner), scale)["hrl_8"]
    shuffled = hierarchical(
        {8: image[8][order]},
        {8: text[8][order.flip(0)]},
        positives(owner[order], owner[order.flip(0)]),
        scale,
    )["hrl_8"]
    torch.testing.assert_close(straight, shuffled)


def test_batch_of_one_and_half_precision_are_finite():
    one = {8: units(1, 8)}
    assert (
        hierarchical(one, one, torch.ones(1, 1, dtype=torch.bool), {8: torch.tensor(10.0)})["hrl_8"].item()
        == 0
    )
    half = {8: units(16, 8).bfloat16()}
    loss = hierarchical(half, half, torch.eye(16, dtype=torch.bool), {8: torch.tensor(100.0)})["hrl_8"]
    assert torch.isfinite(loss)


def test_equal_wordings_are_positives_of_each_others_pictures():
    # pictures 0 and 2 have captions worded alike; picture 3 has none
    positive = positives(torch.arange(4), torch.tensor([0, 1, 2]), torch.tensor([7, 8, 7]))
    expected = [[True, False, True], [False, True, False], [True, False, True], [False, False, False]]
    assert positive.tolist() == expected
