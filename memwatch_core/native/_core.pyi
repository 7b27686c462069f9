"""The object that ffi_build.py makes. Its calls are typed where they are wrapped, in core.py."""

from typing import Any

lib: Any
ffi: Any
