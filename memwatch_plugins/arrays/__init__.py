"""Arrays: where each element lies in memory, by dtype, shape and strides, and what its bytes mean. Without numpy."""

from .compound import item as item
from .elements import Elements as Elements
from .elements import elements as elements
from .items import Item as Item
from .regions import region as region
