import torch

from retriever.scoring import maxsim


def test_maxsim_is_the_best_token() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    items = torch.tensor([[[0.5, 0.1], [0.2, 0.9]], [[-1.0, 0.0], [-0.5, -0.5]]])
    torch.testing.assert_close(maxsim(queries, items), torch.tensor([[0.5, -0.5], [0.9, 0.0]]))


def test_more_pictures_never_lower_a_score() -> None:
    generator = torch.Generator().manual_seed(0)
    query, first, second = (torch.randn(*shape, generator=generator) for shape in ((3, 8), (1, 4, 8), (1, 4, 8)))
    assert (maxsim(query, torch.cat([first, second], dim=1)) >= maxsim(query, first)).all()
