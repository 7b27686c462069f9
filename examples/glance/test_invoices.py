# test_invoices.py
from prices import price


def test_a_price_is_in_euros():
    assert price(100) == "100.00 EUR"
