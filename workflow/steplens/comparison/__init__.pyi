from .measures import diagonal_concentration as diagonal_concentration
from .measures import diagonal_ratio as diagonal_ratio
from .measures import overlap_matrix as overlap_matrix
from .measures import permutation_p as permutation_p
from .measures import spearman_matrix as spearman_matrix
