# shop.py
"""An online shop. Debug messages are on, until something turns them off."""

import logging
import sys

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s", stream=sys.stdout)
logging.debug("starting")

import exports


def order(number, total):
    logging.debug("order %s: %s", number, total)
    exports.export(number, total)


order(17, 42.0)
