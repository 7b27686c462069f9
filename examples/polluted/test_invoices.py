"""Tests of invoices."""

import pytest
import shop


@pytest.mark.parametrize("number", range(1, 13))
def test_an_invoice_has_its_number(number):
    assert shop.invoice(number, shop.Cart()).startswith(f"invoice {number}:")


@pytest.mark.parametrize("name", ["price", "invoice", "use", "Cart"])
def test_the_shop_has_its_functions(name):
    assert callable(getattr(shop, name))


@pytest.mark.parametrize("amount", [1, 2, 3, 5, 8, 13, 21])
def test_a_cart_is_worth_something(amount):
    cart = shop.Cart()
    cart.add(amount)
    assert cart.total() > 0


def test_an_invoice_is_in_euros():
    cart = shop.Cart()
    cart.add(100)
    assert shop.invoice(7, cart) == "invoice 7: 100.0 EUR"
