"""Tests of currencies."""

import pytest
import shop


@pytest.fixture
def settings():
    before = dict(shop.SETTINGS)
    yield shop.SETTINGS
    shop.SETTINGS.clear()
    shop.SETTINGS.update(before)


@pytest.mark.parametrize("currency", ["EUR", "USD", "GBP"])
@pytest.mark.parametrize("amount", [1, 10, 100])
def test_a_price_is_converted(amount, currency):
    assert shop.price(amount, currency) == round(amount * shop.RATES[currency], 2)


@pytest.mark.parametrize("currency", ["USD", "GBP"])
def test_the_shop_may_use_another_currency(currency, settings):
    shop.use(currency=currency)
    assert shop.price(100) == shop.price(100, currency)


def test_the_currency_is_used_for_carts():
    shop.use(currency="USD")
    cart = shop.Cart()
    cart.add(100)
    assert cart.total() == 110


@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_prices_are_rounded(digits, settings):
    shop.use(rounding=digits)
    assert shop.price(1.23456, "EUR") == round(1.23456, digits)
