"""``%load_ext memwatch``: what IPython imports by that name. The code is in ``memwatch_jupyter``."""

from memwatch_jupyter import load_ipython_extension as load_ipython_extension
from memwatch_jupyter import unload_ipython_extension as unload_ipython_extension
