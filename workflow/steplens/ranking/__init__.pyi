from .scores.ap import average_precision as average_precision
from .scores.ap import rank as rank
from .selection import bottom_k as bottom_k
from .selection import top_k as top_k
from .table import Ranking as Ranking
from .table import open_ranking as open_ranking
