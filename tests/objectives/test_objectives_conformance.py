"""The same questions to every objective: derivatives, order, a batch of one, precision, gradients."""

from __future__ import annotations

import pytest
import torch

from hivlp.objectives.binary import imbalance, sign_codes
from objective_cases import CASES, Case, Tensors

every = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def reordered(tensors: Tensors, order: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: tensor[order] for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.smooth])
def test_gradient_equals_finite_differences(name: str):
    case = CASES[name]
    learned, led = case.learned(4), case.led(4)

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return case.loss(dict(zip(learned, values, strict=True)), led)

    assert torch.autograd.gradcheck(loss, [value.requires_grad_() for value in learned.values()])


def test_the_gradient_of_sign_codes_is_that_of_the_same_loss_on_codes():
    """What straight-through means: what the loss wants of the codes is what the rows are told."""
    case, rows = CASES["binary"], CASES["binary"].learned(5)
    codes = {name: sign_codes(value).clone().requires_grad_() for name, value in rows.items()}
    rows = {name: value.requires_grad_() for name, value in rows.items()}
    case.loss(rows, {}).backward()
    case.loss(codes, {}).backward()
    for name in rows:
        torch.testing.assert_close(rows[name].grad, codes[name].grad)


@every
def test_order_of_the_batch_does_not_matter(case: Case):
    learned, led = case.learned(6), case.led(6)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    straight, shuffled = case.loss(learned, led), case.loss(reordered(learned, order), reordered(led, order))
    torch.testing.assert_close(straight, shuffled)


@every
def test_a_batch_of_one_is_finite(case: Case):
    learned = {name: value.requires_grad_() for name, value in case.learned(1).items()}
    loss = case.loss(learned, case.led(1))
    assert torch.isfinite(loss) and loss >= -1e-9
    loss.backward()
    assert all(torch.isfinite(value.grad).all() for value in learned.values() if value.grad is not None)


@every
def test_half_precision_is_finite_and_near(case: Case):
    def halved(tensors: Tensors) -> dict[str, torch.Tensor]:
        return {n: t.bfloat16() if t.is_floating_point() else t for n, t in tensors.items()}

    learned = {name: value.requires_grad_() for name, value in halved(case.learned(8)).items()}
    loss = case.loss(learned, halved(case.led(8)))
    loss.backward()
    assert all(torch.isfinite(value.grad).all() for value in learned.values() if value.grad is not None)
    assert loss.item() == pytest.approx(case.loss(case.learned(8), case.led(8)).item(), rel=0.1, abs=0.05)


@every
def test_the_gradient_reaches_what_learns_and_no_teacher(case: Case):
    learned = {name: value.requires_grad_() for name, value in case.learned(5).items()}
    led = {n: t.requires_grad_() if t.is_floating_point() else t for n, t in case.led(5).items()}
    case.loss(learned, led).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in learned.values())
    assert all(value.grad is None for value in led.values())


def test_bits_that_never_change_are_unbalanced():
    same, half = torch.ones(4, 2), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert imbalance(sign_codes(same)).item() == pytest.approx(1.0)
    assert imbalance(sign_codes(half)).item() == pytest.approx(0.0)
    assert sign_codes(torch.tensor([[0.3, -0.2, 0.0, -5.0]])).tolist() == [[0.5, -0.5, 0.5, -0.5]]
