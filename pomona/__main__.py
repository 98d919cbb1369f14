"""`python -m pomona`"""

from .cli import run

run()
