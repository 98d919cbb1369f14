"""What frozen stages gave for an image, kept on disk and in memory for whoever asks next."""

from .blocks import BlockKey as BlockKey
from .blocks import BlockUse as BlockUse
from .blocks import clear as clear
from .blocks import is_block as is_block
from .blocks import is_ours as is_ours
from .blocks import prefix_folder as prefix_folder
from .blocks import unless_busy as unless_busy
from .blocks import usage as usage
from .limits import disk_limit as disk_limit
from .limits import memory_limit as memory_limit
from .store import Compute as Compute
from .store import PrefixStore as PrefixStore
