"""MAD's six synthetic tasks (arXiv 2403.17844, section 3), as vectorised generators."""

from harness.compose.proxies.tasks.compression import Compression
from harness.compose.proxies.tasks.contract import IGNORE, Draw, Examples, Task
from harness.compose.proxies.tasks.copying import SelectiveCopying
from harness.compose.proxies.tasks.fuzzy import FuzzyRecall
from harness.compose.proxies.tasks.memorization import Memorization
from harness.compose.proxies.tasks.recall import Recall

__all__ = [
    "IGNORE",
    "Compression",
    "Draw",
    "Examples",
    "FuzzyRecall",
    "Memorization",
    "Recall",
    "SelectiveCopying",
    "Task",
]
