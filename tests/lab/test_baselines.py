"""The compared systems: padding, batches and kept regions change no score; cost is what a formula says."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import Tensor  # noqa: E402

from hivlp_lab.baselines.dual import LightningDot, RegionHiVLP  # noqa: E402
from hivlp_lab.baselines.meter import Meter  # noqa: E402
from hivlp_lab.baselines.parts import compacted, multiply_adds  # noqa: E402
from hivlp_lab.baselines.sizes import METERS, PAIRS, MeterSize, Stack  # noqa: E402
from hivlp_lab.baselines.uniter import Uniter  # noqa: E402

TINY, TINY_METER = PAIRS["tiny"], METERS["tiny"]
ON_REGIONS = MeterSize(
    text=TINY_METER.text,
    image=None,
    fusion=TINY_METER.fusion,
    vocabulary=100,
    max_tokens=16,
    region_features=8,
)
B, T, R = 4, 6, 5
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Pairs:
    """Random texts and pictures of different lengths; what stands where the masks are 0 is noise."""

    def __init__(self) -> None:
        self.tokens = torch.randint(1, 100, (B, T))
        self.text_mask = lengths([3, 6, 1, 4], T)
        self.regions, self.boxes = torch.randn(B, R, 8), torch.rand(B, R, 7)
        self.region_mask = lengths([5, 2, 4, 1], R)

    @property
    def all(self) -> tuple[Tensor, ...]:
        return self.tokens, self.text_mask, self.regions, self.boxes, self.region_mask

    def cut(self, pair: int) -> tuple[Tensor, ...]:
        """One pair alone, without any padding."""
        words, regions = int(self.text_mask[pair].sum()), int(self.region_mask[pair].sum())
        one = slice(pair, pair + 1)
        return (
            self.tokens[one, :words],
            self.text_mask[one, :words],
            self.regions[one, :regions],
            self.boxes[one, :regions],
            self.region_mask[one, :regions],
        )


def lengths(counts: list[int], most: int) -> Tensor:
    return (torch.arange(most) < torch.tensor(counts)[:, None]).long()


def alone(score: Any, pairs: Pairs) -> Tensor:
    return torch.cat([score(*pairs.cut(pair)) for pair in range(B)])


@torch.no_grad()
def test_uniter_scores_a_pair_alone_as_in_a_padded_batch() -> None:
    model, pairs = Uniter(TINY).eval(), Pairs()
    scores_B = model(*pairs.all)
    assert scores_B.shape == (B,) and scores_B.std() > 1e-3
    torch.testing.assert_close(scores_B, alone(model, pairs), **CLOSE)


@torch.no_grad()
def test_uniter_compacted_is_uniter_padded() -> None:
    model, pairs = Uniter(TINY).eval(), Pairs()
    states_BSD, mask_BS = model.states(
        pairs.tokens, pairs.text_mask, model.region_states(pairs.regions, pairs.boxes), pairs.region_mask
    )
    assert states_BSD.shape[1] == int((pairs.text_mask.sum(1) + pairs.region_mask.sum(1)).max()) < T + R
    # every word and region in the place it came in, padding between them
    words, regions = model.words(input_ids=pairs.tokens), model.region_states(pairs.regions, pairs.boxes)
    holed_BS = torch.cat([pairs.text_mask, pairs.region_mask], 1)
    hidden = torch.zeros(B, 1, 1, T + R).masked_fill(holed_BS[:, None, None] == 0, -1e30)
    padded = model.encoder(torch.cat([words, regions], 1), attention_mask=hidden).last_hidden_state
    for pair in range(B):
        torch.testing.assert_close(
            states_BSD[pair][mask_BS[pair] == 1], padded[pair][holed_BS[pair] == 1], **CLOSE
        )


def test_compaction_is_what_a_loop_gives() -> None:
    states_BSD, mask_BS = (
        torch.randn(3, 5, 2),
        torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 1]]),
    )
    found_BSD, found_BS = compacted(states_BSD, mask_BS)
    assert found_BS.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    for row in range(3):
        wanted = [states_BSD[row, place].tolist() for place in range(5) if mask_BS[row, place]]
        assert found_BSD[row, : len(wanted)].tolist() == wanted


@torch.no_grad()
def test_kept_regions_score_as_fresh_ones() -> None:
    model, pairs = Uniter(TINY).eval(), Pairs()
    kept_BRD = model.region_states(pairs.regions, pairs.boxes)
    for one in range(B):  # one text beside all pictures, as a search asks
        tokens, mask = pairs.tokens[one].expand(B, -1), pairs.text_mask[one].expand(B, -1)
        fresh_B = model(tokens, mask, pairs.regions, pairs.boxes, pairs.region_mask)
        torch.testing.assert_close(
            model.score(tokens, mask, kept_BRD, pairs.region_mask), fresh_B, atol=0, rtol=0
        )


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_meter_scores_a_pair_alone_as_in_a_padded_batch(attention: str) -> None:
    model, pairs = Meter(ON_REGIONS, attention=attention).eval(), Pairs()

    def score(tokens: Tensor, text_mask: Tensor, regions: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        return model.score(
            model.text_states(tokens, text_mask), text_mask, model.region_states(regions, boxes), mask
        )

    scores_B = score(*pairs.all)
    assert scores_B.std() > 1e-4
    torch.testing.assert_close(scores_B, alone(score, pairs), **CLOSE)


@torch.no_grad()
def test_meter_reads_both_sides() -> None:
    model, pairs = Meter(TINY_METER).eval(), Pairs()
    text_BTD = model.text_states(pairs.tokens, pairs.text_mask)
    image_BSD = model.pixel_states(torch.randn(B, 3, 32, 32))
    assert image_BSD.shape == (B, 1 + 4, 32)
    scores_B = model.score(text_BTD, pairs.text_mask, image_BSD)
    assert not torch.allclose(scores_B, model.score(text_BTD, pairs.text_mask, image_BSD.flip(0)))
    assert not torch.allclose(scores_B, model.score(text_BTD.flip(0), pairs.text_mask, image_BSD))


def test_each_size_of_meter_says_what_it_takes() -> None:
    with pytest.raises(TypeError, match="takes pixels; call pixel_states"):
        Meter(TINY_METER).region_states(torch.zeros(1, 1, 8), torch.zeros(1, 1, 7))
    with pytest.raises(TypeError, match="takes regions; call region_states"):
        Meter(ON_REGIONS).pixel_states(torch.zeros(1, 3, 32, 32))


@torch.no_grad()
def test_dual_encoders_give_one_vector_whatever_the_padding() -> None:
    model, pairs = LightningDot(TINY).eval(), Pairs()

    def text(tokens: Tensor, mask: Tensor, *_: Tensor) -> Tensor:
        return model.encode_text(tokens, mask)

    def image(_: Tensor, __: Tensor, *regions: Tensor) -> Tensor:
        return model.encode_image(*regions)

    for encode in (text, image):
        vectors_BD = encode(*pairs.all)
        assert vectors_BD.shape == (B, 16)
        torch.testing.assert_close(vectors_BD, alone(encode, pairs), **CLOSE)


@pytest.mark.parametrize("kind", ["nested", "separate"])
@torch.no_grad()
def test_hivlp_has_unit_vectors_at_every_level(kind: str) -> None:
    model, pairs = RegionHiVLP(TINY, (4, 16), kind=kind).eval(), Pairs()
    for found in (
        model.encode_text(pairs.tokens, pairs.text_mask),
        model.encode_image(pairs.regions, pairs.boxes, pairs.region_mask),
    ):
        assert {width: rows.shape for width, rows in found.items()} == {4: (B, 4), 16: (B, 16)}
        for rows in found.values():
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(B), **CLOSE)


def test_every_weight_learns() -> None:
    pairs = Pairs()
    uniter, meter = Uniter(TINY), Meter(ON_REGIONS)
    uniter(*pairs.all).square().sum().backward()
    text_BTD = meter.text_states(pairs.tokens, pairs.text_mask)
    image_BRD = meter.region_states(pairs.regions, pairs.boxes)
    meter.score(text_BTD, pairs.text_mask, image_BRD, pairs.region_mask).square().sum().backward()
    for model in (uniter, meter):
        assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_counted_multiply_adds_are_those_of_the_formula() -> None:
    model = Uniter(TINY).eval()
    ones = torch.ones(1, T, dtype=torch.long), torch.ones(1, T, dtype=torch.long)
    pair = (*ones, torch.zeros(1, R, 8), torch.zeros(1, R, 7), torch.ones(1, R, dtype=torch.long))
    width, inner, layers, states = 32, 64, 2, T + R
    a_layer = states * (4 * width**2 + 2 * width * inner) + 2 * states**2 * width
    regions, head = R * (8 + 7) * width, width**2 + width
    assert multiply_adds(lambda: model(*pair)) == layers * a_layer + regions + head


def test_the_sizes_of_the_papers_cost_what_they_should() -> None:
    # a stack of UNITER-base: 85.1 million weights in its blocks, so as many multiply-adds a state
    def weights(stack: Stack) -> int:
        return stack.layers * (4 * stack.width**2 + 2 * stack.width * stack.inner)

    assert weights(PAIRS["base"].stack) == 84_934_656
    assert weights(PAIRS["large"].stack) == 301_989_888
