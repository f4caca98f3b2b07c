"""What training changes in codebooks beside the optimizer: moving averages, and dead codes."""

import numpy as np
import torch

from mambatalk.models.vq.quantizer import LearnedCodebook, MovingAverageCodebook, Quantizer
from mambatalk.training.modules.codebooks import DeadCodeRevival, MovingAverage


def revival(
    codebook: Quantizer, *, dead_share: float = 0.1, momentum: float = 0.9
) -> DeadCodeRevival:
    return DeadCodeRevival(codebook, dead_share=dead_share, momentum=momentum)


def test_dead_codes_move_onto_latents_and_used_codes_stay() -> None:
    torch.manual_seed(0)
    codebook = LearnedCodebook(8, 3)
    used = codebook.table.detach()[:2].repeat(4, 1)[None]
    latents = used + 1e-4 * torch.randn(1, 8, 3)
    codes = codebook.nearest(latents)
    alive = codes.unique()
    before = codebook.table.detach().clone()

    module = revival(codebook)
    module(latents, codes)
    moved = [module.revive(codebook) for _ in range(22)]

    # 0.9 ** 22 is the first power below 0.1.
    assert moved == [0] * 21 + [8 - len(alive)]
    after = codebook.table.detach()
    assert torch.equal(after[alive], before[alive])
    dead = torch.tensor([code for code in range(8) if code not in alive])
    assert (torch.cdist(after[dead], latents[0]).min(1).values == 0).all()


def test_momentum_and_dead_share_set_when_a_code_is_dead() -> None:
    codebook = LearnedCodebook(8, 3)
    latents = torch.ones(1, 16, 3)
    codes = torch.zeros(1, 16, dtype=torch.long)
    for momentum, dead_share, steps in ((0.5, 0.1, 4), (0.5, 0.3, 2), (0.9, 0.5, 7)):
        module = revival(codebook, dead_share=dead_share, momentum=momentum)
        module(latents, codes)
        moved = [module.revive(codebook) for _ in range(steps)]
        assert moved == [0] * (steps - 1) + [7]


def test_revived_code_counts_as_used_again() -> None:
    codebook = LearnedCodebook(8, 3)
    module = revival(codebook)
    module(torch.ones(1, 16, 3), torch.zeros(1, 16, dtype=torch.long))
    moved = [module.revive(codebook) for _ in range(44)]
    assert [step for step, count in enumerate(moved, 1) if count] == [22, 44]


def test_no_more_codes_are_revived_than_there_are_latents() -> None:
    codebook = LearnedCodebook(64, 3)
    module = revival(codebook)
    module(torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.long))
    assert max(module.revive(codebook) for _ in range(30)) == 2


def test_revival_state_is_its_usage_counter_alone() -> None:
    assert list(revival(LearnedCodebook(8, 3)).state_dict()) == ["shares"]


def test_code_vectors_are_ratios_of_the_averaged_sums_and_counts_of_the_source() -> None:
    """Equations 6 to 8 of van den Oord et al., from one frame of the first vector in each code."""
    torch.manual_seed(0)
    codebook = MovingAverageCodebook(6, 3)
    average = MovingAverage(codebook, momentum=0.8)
    counts = np.full(6, 40 / 6)
    sums = codebook.table.double().numpy() * counts[:, None]
    for _ in range(20):
        latents = torch.randn(4, 10, 3)
        codes = codebook.nearest(latents)
        average(latents, codes)
        average.update(codebook)

        chosen = np.eye(6)[codes.flatten().numpy()]
        counts = 0.8 * counts + 0.2 * chosen.sum(0)
        sums = 0.8 * sums + 0.2 * chosen.T @ latents.flatten(0, 1).double().numpy()
        np.testing.assert_allclose(codebook.table, sums / counts[:, None], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(average.shares, counts / 40, rtol=1e-5)


def test_a_code_without_latents_stays_for_ever() -> None:
    """Its count is too small for single precision after 150 steps."""
    torch.manual_seed(0)
    codebook = MovingAverageCodebook(2, 3)
    before = codebook.table.clone()
    average = MovingAverage(codebook, momentum=0.5)
    average(torch.ones(1, 10, 3), torch.zeros(1, 10, dtype=torch.long))
    for _ in range(200):
        average.update(codebook)
    assert average.shares[1] == 0
    assert torch.equal(codebook.table[1], before[1])
    torch.testing.assert_close(codebook.table[0], torch.ones(3))


def test_a_moving_average_goes_on_from_where_a_code_was_revived() -> None:
    torch.manual_seed(0)
    codebook = MovingAverageCodebook(2, 3)
    average = MovingAverage(codebook, momentum=0.9)
    module = revival(codebook)
    latents, codes = torch.randn(1, 10, 3), torch.zeros(1, 10, dtype=torch.long)
    average(latents, codes)
    module(latents, codes)
    moved = 0
    while not moved:
        average.update(codebook)
        moved = int(module.revive(codebook))
    place = codebook.table[1].clone()
    assert (latents[0] == place).all(-1).any()
    average.update(codebook)
    assert torch.equal(codebook.table[1], place)
    # Of its count before, and one frame of ten.
    past, new = 0.9 * average.shares[1], 0.1 / 10
    average(latents, codes + torch.arange(10).eq(9).long())
    average.update(codebook)
    expected = (past * place + new * latents[0, 9]) / (past + new)
    torch.testing.assert_close(codebook.table[1], expected)
