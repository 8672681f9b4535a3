import pytest
import torch
from torch.nn import functional as F

from retriever.scoring import maxsim
from training.losses import distillation, hard_negatives, itc, itm, symmetric


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_itc_with_one_positive_each_is_the_clip_loss() -> None:
    queries, items = unit(5, 8), unit(5, 3, 8, seed=1)
    logits = maxsim(queries, items) / 0.07
    labels = torch.arange(5)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    assert itc(queries, items, torch.eye(5, dtype=torch.bool), 0.07).item() == pytest.approx(expected.item(), rel=1e-5)


def test_each_direction_spreads_its_target_over_its_own_positives() -> None:
    """The first query has two items, and the second item two queries."""
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    positives = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    targets = positives.float()
    of_queries, of_items = targets / targets.sum(1, keepdim=True), targets.T / targets.T.sum(1, keepdim=True)
    expected = (F.cross_entropy(logits, of_queries) + F.cross_entropy(logits.T, of_items)) / 2
    assert symmetric(logits, logits.T, positives.bool()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_itc_does_not_push_joint_positives_apart() -> None:
    """Two items that answer the same query: at equal scores their gradients are equal, and both pull."""
    query = unit(1, 8).expand(2, -1)
    items = unit(1, 1, 8, seed=1).repeat(2, 1, 1).requires_grad_()
    itc(query, items, torch.ones(2, 2, dtype=torch.bool), 0.07).backward()
    assert torch.allclose(items.grad, torch.zeros_like(items), atol=1e-6)  # type: ignore[arg-type]

    items.grad = None
    itc(query, items, torch.eye(2, dtype=torch.bool), 0.07).backward()
    loss_apart = itc(query, items, torch.eye(2, dtype=torch.bool), 0.07)
    assert loss_apart.item() == pytest.approx(torch.log(torch.tensor(2.0)).item(), rel=1e-5)


def test_itc_falls_when_the_positive_comes_closer() -> None:
    queries, items = unit(4, 8), unit(4, 2, 8, seed=1)
    positives = torch.eye(4, dtype=torch.bool)
    closer = items.clone()
    closer[:, 0] = queries
    assert itc(queries, closer, positives, 0.05) < itc(queries, items, positives, 0.05)


def test_itm_is_low_for_what_is_rightly_told_apart() -> None:
    logits = torch.tensor([[-4.0, 4.0], [4.0, -4.0]])
    assert itm(logits, torch.tensor([True, False])) < 0.01
    assert itm(logits, torch.tensor([False, True])) > 4


def test_hard_negatives_are_drawn_by_their_similarity_and_are_never_positives() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[9.0, 2.0, 1.0, 0.0], [0.0, 9.0, 9.0, 9.0], [5.0, 5.0, 5.0, 5.0]])
    positives = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.bool)
    drawn = torch.stack([hard_negatives(logits, positives) for _ in range(3000)])  # (3000, 3)
    shares = torch.bincount(drawn[:, 0], minlength=4) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([-torch.inf, 2.0, 1.0, 0.0]).softmax(0), atol=0.03, rtol=0)
    assert (drawn[:, 1] == 0).all()  # however unlikely, the only one
    assert (drawn[:, 2] == -1).all()  # nothing is a negative


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn() -> None:
    queries, items = unit(4, 8), unit(5, 2, 8, seed=1).requires_grad_()
    own = maxsim(queries, items).detach() / 0.1
    distillation(queries, items, (own.softmax(dim=1), own.T.softmax(dim=1)), 0.1).backward()
    assert torch.allclose(items.grad, torch.zeros_like(items), atol=1e-6)  # type: ignore[arg-type]

    items.grad = None
    uniform = torch.full((4, 5), 1 / 5), torch.full((5, 4), 1 / 4)
    distillation(queries, items, uniform, 0.1).backward()
    assert items.grad.abs().max() > 0.01  # type: ignore[union-attr]
