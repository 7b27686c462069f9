"""``%load_ext memwatch``: what IPython imports by that name. The code is in ``jupyter_memwatch``."""

from jupyter_memwatch import load_ipython_extension as load_ipython_extension
from jupyter_memwatch import unload_ipython_extension as unload_ipython_extension
