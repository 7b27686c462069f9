"""An online shop. Debug messages are on, until something turns them off."""

import logging

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s")
logging.debug("starting")

import exports  # noqa: E402


def order(number, total):
    logging.debug("order %s: %s", number, total)
    exports.export(number, total)


order(17, 42.0)
