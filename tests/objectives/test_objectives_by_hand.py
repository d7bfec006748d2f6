"""Objectives against numbers that can be worked out on paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from hivlp.errors import ConfigError
from hivlp.objectives.binary import binary
from hivlp.objectives.distill import from_embeddings, from_scores
from hivlp.objectives.dynamic import dynamic_distillation, hardest, uncertainty
from hivlp.objectives.masked import masked_regions, masked_words
from hivlp.objectives.matching import hard_pairs, matching
from hivlp.objectives.retrieval import consistency, contrastive, hierarchical, pairwise, positives

DIAGONAL = torch.eye(2, dtype=torch.bool)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_pairwise_of_two_pairs():
    logits = torch.tensor([[2.0, 0.0], [-1.0, 3.0]])
    right, wrong = softplus(-2) + softplus(-3), softplus(0) + softplus(-1)
    assert pairwise(logits, DIAGONAL).item() == pytest.approx((right + wrong) / 2, abs=1e-6)


def test_pairwise_at_the_start_costs_what_siglip_says():
    """With scale 10 and bias -10 nearly all of the loss comes from the right pairs, not from the wrong."""
    cosines = torch.zeros(64, 64)
    loss = pairwise(10 * cosines - 10, torch.eye(64, dtype=torch.bool))
    assert loss.item() == pytest.approx(softplus(10) + 63 * softplus(-10), rel=1e-5)


def test_the_sigmoid_form_of_the_hierarchical_loss_is_the_mean_of_its_levels():
    rows = {2: torch.eye(2), 4: torch.eye(2, 4)}
    scales, biases = (
        {2: torch.tensor(3.0), 4: torch.tensor(5.0)},
        {2: torch.tensor(-1.0), 4: torch.tensor(-2.0)},
    )
    terms = hierarchical(rows, rows, DIAGONAL, scales, biases=biases, level_weights=(1.0, 0.5))
    assert terms["hrl_2"].item() == pytest.approx(0.5 * (softplus(-2) + softplus(-1)), abs=1e-6)
    assert terms["hrl_4"].item() == pytest.approx(0.25 * (softplus(-3) + softplus(-2)), abs=1e-6)


@pytest.mark.parametrize("loss", [contrastive, pairwise])
def test_a_hard_negative_is_a_wrong_answer_and_asks_for_none(loss):
    """A third text that belongs to nobody: the nearer it comes, the dearer; by hand for the softmax."""
    positive = positives(torch.arange(2), torch.tensor([0, 1, -1]))
    assert positive.tolist() == [[True, False, False], [False, True, False]]
    far = torch.tensor([[4.0, 0.0, -4.0], [0.0, 4.0, -4.0]])
    near = torch.tensor([[4.0, 0.0, 4.0], [0.0, 4.0, 4.0]])
    assert loss(near, positive) > loss(far, positive)
    if loss is contrastive:
        pictures = math.log(2 + math.exp(-4))
        texts = math.log(1 + math.exp(-4))
        assert loss(near, positive).item() == pytest.approx((pictures + texts) / 2, abs=1e-6)


def test_a_hard_negative_worded_like_a_caption_is_no_negative_of_its_picture():
    positive = positives(torch.arange(2), torch.tensor([0, 1, -1]), torch.tensor([5, 6, 5]))
    assert positive.tolist() == [[True, False, True], [False, True, False]]


def test_consistency_follows_the_mean_of_several_leaders():
    level = torch.tensor([[0.0, 0.0]])
    leaders = [torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, math.log(3.0)]])]
    assert consistency(level, *leaders).item() == pytest.approx(0.0, abs=1e-6)
    one_way = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert consistency(level, leaders[0], leaders[0]).item() == pytest.approx(0.5 * one_way, abs=1e-6)


def test_binary_counts_signs_only():
    rows = torch.tensor([[0.9, 0.1], [-0.9, 0.1]])
    terms = binary(rows, rows, DIAGONAL, torch.tensor(2.0), weight=0.5, balance=3.0)
    # codes agree with themselves (cosine 1) and share one of two bits with each other (cosine 0)
    assert terms["binary_2"].item() == pytest.approx(0.5 * softplus(-2), abs=1e-6)
    # the first bit is balanced, the second is not
    assert terms["balance_2"].item() == pytest.approx(3.0 * 0.5, abs=1e-6)
    assert list(binary(rows, rows, DIAGONAL, torch.tensor(2.0))) == ["binary_2"]
    biased = binary(rows, rows, DIAGONAL, torch.tensor(2.0), bias=torch.tensor(-1.0))
    assert biased["binary_2"].item() == pytest.approx(2 * softplus(-1), abs=1e-6)


def test_from_embeddings_compares_softmaxes_of_similarities():
    teacher = torch.eye(2), torch.eye(2)
    blind = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    sure = math.exp(2) / (math.exp(2) + 1)
    expected = sure * math.log(sure / 0.5) + (1 - sure) * math.log((1 - sure) / 0.5)
    loss = from_embeddings(blind, blind, torch.tensor(7.0), [teacher], teacher_scale=2.0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    same = from_embeddings(*teacher, torch.tensor(2.0), [teacher], teacher_scale=2.0)
    assert same.item() == pytest.approx(0.0, abs=1e-6)


def test_from_scores_looks_at_known_candidates_only():
    logits = torch.tensor([[0.0, 0.0, 50.0], [0.0, 0.0, 0.0]])
    scores = torch.tensor([[math.log(3.0), 0.0, 0.0], [1.0, 2.0, 3.0]]) * 0.5
    known = torch.tensor([[True, True, False], [False, False, False]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = from_scores(logits, scores, temperature=0.5, known_QK=known)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_dynamic_distillation():
    teacher, student = torch.tensor([[0.0, 0.0], [9.0, -9.0]]), torch.zeros(2, 2)
    share = uncertainty(teacher)
    assert share.tolist() == pytest.approx([1.0, 0.0], abs=1e-4)
    terms = dynamic_distillation(student, teacher, imitation=0.25)
    # the second query's teacher is sure, so its error of 81 weighs e times what the first one's 0 does
    assert terms["dcd_imitate"].item() == pytest.approx(0.25 * 81 * math.e / (1 + math.e), rel=1e-3)
    assert terms["dcd_label"].item() == pytest.approx(0.75 * math.log(2), rel=1e-3)
    assert hardest(torch.tensor([[0.1, 0.9, 0.5]]), keep=2).tolist() == [[1, 2]]
    assert hardest(torch.tensor([[0.1, 0.9]]), keep=7).tolist() == [[1, 0]]


def test_masked_words_and_regions():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    words = masked_words(logits, torch.tensor([0, 1]))
    assert words.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, abs=1e-6)
    predicted, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert masked_regions(predicted, target).item() == pytest.approx((5 / 2 + 4 / 2) / 2)


def test_nothing_masked_costs_nothing():
    assert masked_words(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)).item() == 0
    assert masked_regions(torch.zeros(0, 5), torch.zeros(0, 5)).item() == 0


def test_parts_of_a_batch_that_share_a_count_average_to_the_whole():
    logits, words = (
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    count = torch.tensor(2.5)  # the mean of the counts 4 and 1
    parts = [masked_words(logits[rows], words[rows], count=count) for rows in (slice(0, 4), slice(4, 5))]
    torch.testing.assert_close(torch.stack(parts).mean(), masked_words(logits, words))
    regions = [
        masked_regions(logits[rows], logits[rows] + 1, count=count) for rows in (slice(0, 4), slice(4, 5))
    ]
    assert torch.stack(regions).mean().item() == pytest.approx(1.0)


def test_hard_pairs_are_the_most_similar_wrong_ones():
    similarity = torch.tensor([[9.0, 1.0, 5.0], [2.0, 8.0, 3.0], [6.0, 0.0, 7.0]], requires_grad=True)
    pairs = hard_pairs(similarity, torch.eye(3, dtype=torch.bool))
    told = list(zip(pairs.picture_P.tolist(), pairs.text_P.tolist(), pairs.match_P.tolist(), strict=True))
    right = [(row, row, True) for row in range(3)]
    # pictures choose texts 2, 2 and 0; texts choose pictures 2, 0 and 0
    wrong = [(0, 1, False), (0, 2, False), (1, 2, False), (2, 0, False)]
    assert told == right + wrong


def test_hard_pairs_agree_with_a_plain_loop_and_leave_out_what_is_not_there():
    generator = torch.Generator().manual_seed(3)
    similarity = torch.randn(5, 7, generator=generator)
    positive = torch.rand(5, 7, generator=generator) < 0.3
    wrong = {(b, t) for b in range(5) for t in range(7) if not positive[b, t]}
    expected = set()
    for b in range(5):
        expected |= set(sorted((p for p in wrong if p[0] == b), key=lambda p: -similarity[p])[:2])
    for t in range(7):
        expected |= set(sorted((p for p in wrong if p[1] == t), key=lambda p: -similarity[p])[:2])
    pairs = hard_pairs(similarity, positive, negatives=2)
    found = {(int(b), int(t)) for b, t, m in zip(*pairs, strict=True) if not m}
    assert found == expected
    one = hard_pairs(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert one.match_P.tolist() == [True]


def test_matching_weighs_both_sides_the_same():
    scores, match = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([True, False, False, False])
    assert matching(scores, match).item() == pytest.approx((softplus(-1) + math.log(2)) / 2, abs=1e-6)
    assert matching(torch.zeros(0), torch.zeros(0, dtype=torch.bool)).item() == 0


def a_mixed_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and positives with rows and columns of none, one and several right answers."""
    generator = torch.Generator().manual_seed(5)
    positive = torch.rand(6, 8, generator=generator) < 0.25
    positive[2], positive[:, 3] = False, False
    return 20 * torch.randn(6, 8, generator=generator), positive


def test_contrastive_agrees_with_a_plain_loop():
    logits, positive = a_mixed_batch()
    sides = []
    for rows, right in ((logits, positive), (logits.T, positive.T)):
        losses = [
            -torch.log_softmax(row, dim=0)[mask].mean()
            for row, mask in zip(rows, right, strict=True)
            if mask.any()
        ]
        sides.append(torch.stack(losses).mean())
    torch.testing.assert_close(contrastive(logits, positive), torch.stack(sides).mean())


def test_positives_agree_with_a_plain_loop():
    generator = torch.Generator().manual_seed(2)
    picture = torch.randint(0, 5, (7,), generator=generator)  # a picture can be in a batch twice
    owner = torch.randint(-1, 6, (12,), generator=generator)
    wording = torch.randint(0, 6, (12,), generator=generator)
    expected = [
        [any(owner[s] == p and wording[s] == wording[t] for s in range(12)) for t in range(12)]
        for p in picture
    ]
    assert positives(picture, owner, wording).tolist() == expected


def test_a_wrong_number_of_level_weights_is_refused():
    rows = {width: F.normalize(torch.ones(2, width), dim=1) for width in (2, 4)}
    scales = {width: torch.tensor(1.0) for width in rows}
    message = r"level_weights has 3 numbers and there are 2 levels \(2, 4\); give one weight per level"
    with pytest.raises(ConfigError, match=message):
        hierarchical(rows, rows, DIAGONAL, scales, level_weights=[1, 1, 1])
