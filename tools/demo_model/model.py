"""SeamlessM4T v2 at a small size: the transformers classes, with their submodules shared."""

import torch
from transformers import (
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
    SeamlessM4Tv2ForTextToText,
)

from steplens.models.seamless.padding import isolate_padding

HIDDEN = 160
FFN = 640
LAYERS = 3
HEADS = 4


def small_config(vocab_size: int) -> SeamlessM4Tv2Config:
    """Three layers a stack; the adapter shortens by 4 instead of 8, for the short sentences."""
    return SeamlessM4Tv2Config(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        max_position_embeddings=512,
        encoder_layers=LAYERS, encoder_ffn_dim=FFN, encoder_attention_heads=HEADS,
        decoder_layers=LAYERS, decoder_ffn_dim=FFN, decoder_attention_heads=HEADS,
        speech_encoder_layers=LAYERS, speech_encoder_attention_heads=HEADS,
        speech_encoder_intermediate_size=FFN,
        adaptor_kernel_size=4, adaptor_stride=4,
        conv_depthwise_kernel_size=31,
        encoder_layerdrop=0.0, decoder_layerdrop=0.0, speech_encoder_layerdrop=0.0,
        dropout=0.1, attention_dropout=0.0, activation_dropout=0.0,
        speech_encoder_dropout=0.0, adaptor_dropout=0.0,
        attn_implementation="sdpa",
    )  # fmt: skip


class DemoModel(torch.nn.Module):
    """A speech-to-text and a text-to-text model on one decoder, one embedding and one head."""

    def __init__(self, config: SeamlessM4Tv2Config):
        super().__init__()
        self.from_speech = SeamlessM4Tv2ForSpeechToText(config)
        self.from_text = SeamlessM4Tv2ForTextToText(config)
        shared = self.from_speech.shared
        self.from_text.shared = shared
        self.from_text.text_decoder = self.from_speech.text_decoder
        self.from_text.lm_head = self.from_speech.lm_head
        for holder in (self.from_speech.text_decoder, self.from_text.text_encoder):
            holder.embed_tokens.weight = shared.weight
        self.from_speech.lm_head.weight = shared.weight
        isolate_padding(self.from_speech.speech_encoder)
        # Only for training: a head that spells the words frame by frame teaches the speech encoder
        # where they are, long before the decoder's attention finds out by itself.
        self.ctc_head = torch.nn.Linear(config.hidden_size, config.vocab_size)
        self._before_adapter: torch.Tensor | None = None
        self.from_speech.speech_encoder.adapter.register_forward_pre_hook(self._keep)

    def _keep(self, _module, args) -> None:
        self._before_adapter = args[0]

    def encode_speech(self, features, mask):
        """(batch, frames, 160) and mask -> states (batch, time, hidden) and their mask."""
        states = self.from_speech.speech_encoder(features, attention_mask=mask).last_hidden_state
        lengths = self.from_speech._compute_sub_sample_lengths_from_attention_mask(mask)
        state_mask = (torch.arange(states.shape[1])[None] < lengths[:, None]).long()
        return states, state_mask

    def ctc_loss(self, frame_lengths, pieces: list[torch.Tensor]):
        """CTC loss of the transcription, after ``encode_speech`` of the same batch."""
        log_p = self.ctc_head(self._before_adapter).log_softmax(-1).transpose(0, 1)
        return torch.nn.functional.ctc_loss(
            log_p,
            torch.cat(pieces),
            frame_lengths,
            torch.tensor([len(one) for one in pieces]),
            blank=0,  # <pad>
            zero_infinity=True,
        )

    def encode_text(self, tokens, mask):
        """(batch, length) token ids and mask -> states (batch, length, hidden) and the same mask."""
        return self.from_text.text_encoder(tokens, attention_mask=mask).last_hidden_state, mask

    def logits(self, decoder_input, states, state_mask):
        """(batch, length) decoder input -> (batch, length, vocabulary)."""
        decoded = self.from_text.text_decoder(
            decoder_input,
            encoder_hidden_states=states,
            encoder_attention_mask=state_mask,
            use_cache=False,
        )
        return self.from_text.lm_head(decoded.last_hidden_state)

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """The weights under the names of the published checkpoint, float16, each stored once."""
        # The CTC head is a scaffold and stays behind.
        merged = self.from_text.state_dict() | self.from_speech.state_dict()
        tied = ("lm_head.", "text_decoder.embed_tokens.", "text_encoder.embed_tokens.")
        return {
            name: tensor.detach().half().contiguous()
            for name, tensor in merged.items()
            if not name.startswith(tied)
        }
