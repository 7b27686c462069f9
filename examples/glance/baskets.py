# baskets.py
"""Two customers, each with a basket. Ben has bought nothing, and is to pay for Ann's tea."""


class Basket:
    items = []
    total = 0

    def add(self, name, price):
        self.items.append(name)
        self.total += price


ann, ben = Basket(), Basket()


def shop():
    ann.add("tea", 3)


shop()
print(f"Ann: {ann.items} {ann.total}, Ben: {ben.items} {ben.total}")
