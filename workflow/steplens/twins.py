"""Which tasks ask the same of the decoder, of speech and of text, and how their rankings are named."""

TEXT_TWIN = {"s2t": "t2t", "asr": "tr"}  # of a task in speech, the task in text
MODALITIES = ("speech", "text")
