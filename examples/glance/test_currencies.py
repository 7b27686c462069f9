# test_currencies.py
import prices


def test_a_price_in_dollars():
    prices.CURRENCY = "USD"
    assert prices.price(100) == "110.00 USD"
