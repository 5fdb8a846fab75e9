"""Speech features as SeamlessM4T's own feature extractor gives them (D13), only faster.

80 log-mel bins over 25 ms windows every 10 ms, mean and variance removed per utterance and bin,
two frames stacked. The transformers extractor loops over frames in Python; torchaudio's Kaldi
front end computes the same numbers (within 1e-3, held by a test).
"""

import numpy as np
import torch
from torchaudio.compliance import kaldi

SAMPLING_RATE_HZ = 16_000
N_MEL_BINS = 80
FRAME_STACK = 2
_MIN_SAMPLES = 400 + 160 * (FRAME_STACK - 1)  # one stacked frame


def speech_features(wave: np.ndarray) -> torch.Tensor:
    """Stacked log-mel features of one utterance.

    Parameters
    ----------
    wave : (n_samples,) float array
        Mono audio at 16 kHz, in [-1, 1].

    Returns
    -------
    (n_frames, 160) float32 tensor, one row per 20 ms.

    Raises
    ------
    ValueError
        The audio is not mono, shorter than one stacked frame, or not finite.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1:
        raise ValueError(
            f"audio: expected one channel, got an array of shape {wave.shape}; average the channels"
        )
    if len(wave) < _MIN_SAMPLES:
        raise ValueError(
            f"audio: expected at least {_MIN_SAMPLES} samples, got {len(wave)}; delete the file and speak "
            "the sentence again"
        )
    if not np.isfinite(wave).all():
        raise ValueError(
            "audio: expected finite samples, got NaN or infinity; delete the file and speak the sentence "
            "again"
        )
    mel = kaldi.fbank(
        torch.from_numpy(wave)[None] * 2**15,  # Kaldi expects the range of 16-bit integers
        num_mel_bins=N_MEL_BINS,
        sample_frequency=SAMPLING_RATE_HZ,
        window_type="povey",
        low_freq=20.0,
        dither=0.0,
    )  # (n_windows, 80)
    mel = (mel - mel.mean(0)) / torch.sqrt(mel.var(0) + 1e-7)
    n_frames = len(mel) // FRAME_STACK
    return mel[: n_frames * FRAME_STACK].reshape(n_frames, FRAME_STACK * N_MEL_BINS)


def pad_features(features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack utterances of different length: (batch, n_frames, 160) and its int64 mask."""
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    lengths = torch.tensor([len(one) for one in features])
    mask = (torch.arange(padded.shape[1])[None] < lengths[:, None]).long()
    return padded, mask
