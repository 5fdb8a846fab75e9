"""What must be accepted before it is fetched or run."""

from steplens.config.run import Config
from steplens.errors import ConfigError
from steplens.speech.engines.xtts_files import CPML

# Rules that fetch XTTS v2 or speak with it.
XTTS_RULES = frozenset({"fetch_xtts", "speech_xtts", "other_speech_xtts"})


def check_licences(config: Config, rules: set[str]) -> None:
    """Raise ConfigError if one of these rules would use XTTS v2 under a licence not yet accepted."""
    if rules & XTTS_RULES and not config.speech.xtts.accept_cpml:
        raise ConfigError(CPML)
