"""Safe output for plugins: nothing printed here can control the terminal.

:func:`say` prints messages to standard error, :func:`write` lines that may have colours, :func:`put_bytes` JSON.
"""

from memwatch_core.printed import put_bytes as put_bytes
from memwatch_core.printed import say as say
from memwatch_core.printed import write as write
