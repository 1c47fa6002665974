"""A made-up score table for the tests of this room."""

import numpy as np
import pandas as pd


def score_table(
    images: int = 40,
    noise: float = 6.0,
    seed: int = 3,
    attacks: tuple[str, ...] = ("fgsm", "uap"),
    split: str = "test",
) -> pd.DataFrame:
    """Attacked scores are lower than clean ones by a third of `noise`, and noisy; the first attack is the strongest."""
    random = np.random.default_rng(seed)
    mos = random.beta(2, 1.3, images) * 100
    clean = mos + random.normal(0, 8, images)
    gradient_l1 = random.gamma(2.0, 60.0 * noise, images)
    parts = [
        pd.DataFrame(
            {
                "image": [f"{index:03d}.png" for index in range(images)],
                "content": [f"photo{index % 8}" for index in range(images)],
                "split": split,
                "mos": mos,
                "attack": attack,
                "clean_score": clean,
                "attacked_score": clean - noise / 3 + random.normal(0, noise / strength, images),
                "attacked_score_8bit": np.nan,
                "max_delta": 0.005,
                "ssim": 1 - 0.01 / strength,
                "seconds": 0.01,
                "gradient_l1": gradient_l1,
            }
        )
        for strength, attack in enumerate(attacks, start=1)
    ]
    return pd.concat(parts, ignore_index=True)
