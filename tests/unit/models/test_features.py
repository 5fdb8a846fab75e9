"""Speech features against the model's own extractor."""

import numpy as np
import pytest

from steplens.models.seamless.features import pad_features, speech_features


@pytest.mark.parametrize("n_samples", [16_000, 16_079, 16_081, 24_321, 5_000])
def test_features_equal_the_transformers_extractor(n_samples):
    """Within 1e-3, frame by frame (D13), for lengths that leave a single frame over too."""
    from transformers import SeamlessM4TFeatureExtractor

    generator = np.random.default_rng(n_samples)
    wave = (0.1 * generator.standard_normal(n_samples)).astype(np.float32)
    slow = SeamlessM4TFeatureExtractor()(wave, sampling_rate=16_000, return_tensors="np")
    valid = int(slow["attention_mask"].sum())
    fast = speech_features(wave).numpy()
    assert len(fast) == valid
    np.testing.assert_allclose(fast, slow["input_features"][0, :valid], atol=1e-3)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros((2, 16_000)), "expected one channel"),
        (np.zeros(100), "at least 560 samples, got 100"),
        (np.full(16_000, np.nan), "NaN or infinity"),
    ],
)
def test_unusable_audio_is_refused(wave, message):
    """With what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        speech_features(wave)


def test_padding_marks_what_is_valid(features):
    """The mask counts each utterance's own frames; behind them stand zeros."""
    padded, mask = pad_features(features)
    assert mask.sum(1).tolist() == [len(one) for one in features]
    assert (padded[mask == 0] == 0).all()
