"""Safe output for plugins: nothing printed here can control the terminal.

:func:`say` is for messages to standard error, :func:`write` for lines that may have colours, :func:`put_bytes` for
JSON. :func:`shows_colours`: whether a stream is a terminal on which colours are wanted.
"""

from memwatch_core.printed import put_bytes as put_bytes
from memwatch_core.printed import say as say
from memwatch_core.printed import shows_colours as shows_colours
from memwatch_core.printed import write as write
