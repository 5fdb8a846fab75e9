from .comparison.measures import diagonal_concentration as diagonal_concentration
from .comparison.measures import diagonal_ratio as diagonal_ratio
from .comparison.measures import overlap_matrix as overlap_matrix
from .comparison.measures import permutation_p as permutation_p
from .comparison.measures import spearman_matrix as spearman_matrix
from .control import control_rate as control_rate
from .control import effect_ratios as effect_ratios
from .hooks.intervention import Intervention as Intervention
from .hooks.intervention import Replacement as Replacement
from .hooks.recorder import Recorder as Recorder
from .models.neurons import neuron_table as neuron_table
from .models.registry import load_model as load_model
from .ranking.scores.ap import average_precision as average_precision
from .ranking.scores.ap import rank as rank
from .ranking.selection import bottom_k as bottom_k
from .ranking.selection import top_k as top_k
from .ranking.table import open_ranking as open_ranking
from .run.open import open_run as open_run
from .store.reading import open_store as open_store

__version__: str
