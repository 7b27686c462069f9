"""Tests of carts."""

import pytest
import shop


@pytest.mark.parametrize("count", range(1, 11))
def test_items_are_counted(count):
    cart = shop.Cart()
    cart.add(5, count)
    assert len(cart.items) == count


@pytest.mark.parametrize("amount", [0, 0.5, 1, 2.25, 10, 99.99, 100, 1000])
def test_total_of_one_item_is_its_price(amount):
    cart = shop.Cart()
    cart.add(amount)
    assert cart.total() == shop.price(amount)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_full_cart_takes_nothing(limit, monkeypatch):
    monkeypatch.setitem(shop.SETTINGS["limits"], "items", limit)
    cart = shop.Cart()
    cart.add(1, limit)
    with pytest.raises(ValueError, match="full"):
        cart.add(1)
