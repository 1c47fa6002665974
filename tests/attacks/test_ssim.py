"""SSIM against piq, and what any similarity owes."""

from __future__ import annotations

from typing import Literal

import piq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.ssim import ssim


@settings(max_examples=20, deadline=None)
@given(height=st.integers(11, 40), width=st.integers(11, 40), noise=st.floats(0, 0.5), seed=st.integers(0, 1000))
def test_equals_piq(height: int, width: int, noise: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    other = (clean + noise * torch.randn(clean.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    torch.testing.assert_close(ssim(clean, other), piq.ssim(clean, other, reduction="none"))


def test_large_images_are_pooled_as_piq_does() -> None:
    clean = torch.rand(1, 3, 500, 512, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = (clean + 0.1).clamp(0, 1)
    torch.testing.assert_close(ssim(clean, other), piq.ssim(clean, other, reduction="none"))
    assert not torch.isclose(ssim(clean, other, "replicate"), ssim(clean, other)).any()


@pytest.mark.parametrize("form", ["valid", "replicate"])
def test_is_one_for_equal_images_and_symmetric(form: Literal["valid", "replicate"]) -> None:
    clean, other = torch.rand(2, 4, 3, 20, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(ssim(clean, clean, form), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(ssim(clean, other, form), ssim(other, clean, form))
    assert (ssim(clean, other, form) < 0.5).all()


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))
