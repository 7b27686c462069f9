"""A shop: prices in a currency, carts, invoices."""

RATES = {"EUR": 1.0, "USD": 1.1, "GBP": 0.85}
SETTINGS = {"currency": "EUR", "rounding": 2, "limits": {"items": 20}}


def use(**settings):
    SETTINGS.update(settings)


def price(amount, currency=None):
    rate = RATES[currency or SETTINGS["currency"]]
    return round(amount * rate, SETTINGS["rounding"])


class Cart:
    def __init__(self):
        self.items = []

    def add(self, amount, count=1):
        if len(self.items) + count > SETTINGS["limits"]["items"]:
            raise ValueError("the cart is full")
        self.items += [amount] * count

    def total(self):
        return price(sum(self.items))


def invoice(number, cart):
    return f"invoice {number}: {cart.total()} {SETTINGS['currency']}"
