"""Tensors in watched memory."""

from __future__ import annotations

import copy
import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_numpy
import memwatch_serializer_torch
import numpy
import pytest

from memwatch_core import unwatch, watch
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import MutationError, WatchError
from memwatch_core.native import core
from memwatch_core.records import Event, Lost, Record, Unwatched
from memwatch_plugins.testing.sessions import RealSession, real_session

torch = pytest.importorskip("torch", reason="torch isn't installed: make soak brings it")

SERIALIZERS = memwatch_serializer_torch.memwatch_serializers()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[RealSession]:
    with real_session(tmp_path, serializers=SERIALIZERS) as opened:
        yield opened


def told(records: list[Record]) -> list[tuple[str, Any, Any]]:
    assert not [record for record in records if isinstance(record, Lost)]
    return [(f"{e.variable}{e.part.name}", e.part.old, e.part.new) for e in records if isinstance(e, Event) and e.part]


def ends(records: list[Record]) -> list[tuple[str, str, str, int]]:
    found = [record for record in records if isinstance(record, Unwatched) and record.why != "closed"]
    return [(e.variable, e.why, e.site.file if e.site else "", e.site.line if e.site else 0) for e in found]


def test_stores_of_all_who_have_the_memory_are_seen(session: RealSession) -> None:
    t = watch(torch.zeros(3, 4))
    t[1, 2] = 9.5
    t.view(12)[11] = 2
    t.T[3, 0] = 3
    t.numpy()[2, 0] = 4
    torch.from_dlpack(t)[0, 0] = 5
    assert told(session.records()) == [
        ("t[1, 2]", 0, 9.5), ("t[2, 3]", 0, 2), ("t[0, 3]", 0, 3), ("t[2, 0]", 0, 4), ("t[0, 0]", 0, 5)
    ]  # fmt: skip


WAYS: dict[str, Any] = {
    "add_": lambda t: t.add_(1),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(7),
    "copy_": lambda t: t.copy_(torch.arange(12.0).flip(0).view(3, 4)),
    "+=": lambda t: t.__iadd__(2),
    "a mask": lambda t: t.__setitem__(t > 3, 0),
    "index_fill_": lambda t: t.index_fill_(0, torch.tensor([0, 2]), -1),
    "scatter_": lambda t: t.scatter_(1, torch.tensor([[0], [1], [2]]), 9.0),
    "out=": lambda t: torch.mul(t, 3, out=t),
    "relu_": lambda t: torch.relu_(t.sub_(4)),
    "sort": lambda t: t.copy_(t.flip(1).sort(1).values),
    "a column": lambda t: t[:, 1].mul_(10),
    "matmul": lambda t: torch.matmul(torch.ones(3, 3), t.clone(), out=t),
    "clamp_": lambda t: t.clamp_(2, 5),
    "masked_fill_": lambda t: t.masked_fill_(t < 2, 1),
    "swap": lambda t: t.copy_(t.clone()[[2, 1, 0]]),
    "nothing": lambda t: t.sum(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_events_lead_to_what_the_tensor_holds(way: Any, session: RealSession) -> None:
    plain, t = torch.arange(12.0).view(3, 4), watch(torch.arange(12.0).view(3, 4))
    state = bytearray(plain.numpy().tobytes())
    way(plain)
    way(t)
    assert torch.equal(plain, t)
    final = t.numpy().tobytes()
    for event in session.events():
        assert event.part is not None
        assert bytes(state[event.offset : event.offset + len(event.before)]) == event.before
        state[event.offset : event.offset + len(event.after)] = event.after
    assert bytes(state) == final == plain.numpy().tobytes()


def test_optimizers_write_to_watched_weights(session: RealSession) -> None:
    layer = torch.nn.Linear(2, 2)
    other = copy.deepcopy(layer)
    layer.weight.data = watch(layer.weight.data, name="w")
    for each in (layer, other):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        each(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    assert torch.equal(layer.weight, other.weight)
    layer.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.zeros(2)})
    records = session.records()
    assert told(records)[-1][2] in ([[1, 1], [1, 1]], 1)
    assert ends(records) == []


# ---- who leaves ------------------------------------------------------------------------------------------------------


def _data(t: Any) -> None:
    t.data = torch.ones(4)


LEAVES: dict[str, Any] = {
    "data": _data,
    "set_": lambda t: t.set_(torch.ones(4)),
    "share_memory_": lambda t: t.share_memory_(),
}


@pytest.mark.parametrize("way", LEAVES.values(), ids=LEAVES)
def test_tensor_that_gets_other_memory_ends_its_watch_at_that_line(way: Any, session: RealSession) -> None:
    t = watch(torch.zeros(4))
    way(t)
    t[0] = 5
    records = session.records()
    line = way.__code__.co_firstlineno
    ((name, why, file, at),) = ends(records)
    assert (name, why, file) == ("t", "moved", __file__)
    assert at in (line, line + 1)
    assert [change for change in told(records) if change[2] == 5] == []


def test_layer_that_gets_other_weights_ends_their_watch_at_the_program_s_line(session: RealSession) -> None:
    one, two, three = (torch.nn.Linear(2, 2) for _ in range(3))
    for layer, name in ((one, "one"), (two, "two"), (three, "three")):
        layer.weight.data = watch(layer.weight.data, name=name)
    layer = None
    line = sys._getframe().f_lineno
    one.double()
    two.weight = torch.nn.Parameter(torch.ones(2, 2))
    del three.weight
    assert ends(session.records()) == [
        ("one", "moved", __file__, line + 1),
        ("two", "moved", __file__, line + 2),
        ("three", "deleted", __file__, line + 3),
    ]


def test_tensor_that_is_let_go_ends_as_others_do(session: RealSession) -> None:
    def inner() -> None:
        u = watch(torch.zeros(4))
        u[0] = 1

    inner()
    t = watch(torch.zeros(4))
    view = t[1:]
    t = None
    view[0] = 2
    view = None
    records = session.records()
    assert [end[:2] for end in ends(records)] == [("u", "left"), ("t", "rebound")]
    assert told(records) == [("u[0]", 0, 1), ("t[1]", 0, 2)]
    assert memwatch_serializer_torch.tensors._known == {}
    assert memwatch_serializer_torch.tensors._following == {}


def test_storage_cannot_be_resized(session: RealSession) -> None:
    t = watch(torch.zeros(4))
    with pytest.raises(RuntimeError, match="not resizable"):
        t.resize_(10_000)
    t[3] = 1
    assert told(session.records()) == [("t[3]", 0, 1)]


def test_threads_of_torch_are_seen(session: RealSession) -> None:
    t = watch(torch.zeros(4, 64))

    def work(row: int) -> None:
        t[row].add_(row + 1)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(t, torch.arange(1.0, 5).view(4, 1).expand(4, 64))
    assert {name.partition(",")[0] for name, _, _ in told(session.records())} == {f"t[{row}" for row in range(4)}


# ---- what the program has --------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "floats": lambda: torch.arange(24.0).view(2, 3, 4),
    "doubles": lambda: torch.ones(3, dtype=torch.float64),
    "halves": lambda: torch.ones(3, dtype=torch.float16),
    "ints": lambda: torch.arange(5, dtype=torch.int16),
    "bools": lambda: torch.tensor([True, False]),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "transposed": lambda: torch.arange(6.0).view(2, 3).T,
    "channels last": lambda: torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "one": lambda: torch.tensor(5.0),
    "large": lambda: torch.zeros(300, 300),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_tensor_is_of_its_type_and_has_its_elements(make: Any, session: RealSession) -> None:
    before = core.stats().pages
    plain, t = make(), watch(make(), name="t")
    assert (type(t), t.dtype, t.shape, t.stride()) == (torch.Tensor, plain.dtype, plain.shape, plain.stride())
    assert (t.is_leaf, t.requires_grad, t._is_view()) == (True, False, False)
    assert torch.equal(plain, t)
    assert variable(t).name == "t"
    with pytest.raises(WatchError, match="watched memory already"):
        watch(t.view_as(t), name="u")
    u = unwatch(t)
    assert torch.equal(plain, u)
    u.zero_()
    assert torch.equal(plain, t)
    del t
    gc.collect()
    assert core.stats().pages <= before
    assert session.events() == []


def test_arrays_of_numpy_may_be_watched_beside_it(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=[*SERIALIZERS, *memwatch_serializer_numpy.memwatch_serializers()]):
        a = watch(numpy.zeros(3))
        t = watch(torch.zeros(3))
        assert (variable(a).serializer, variable(t).serializer) == ("numpy", "torch")
        assert torch.equal(unwatch(t), torch.zeros(3))
        assert list(unwatch(a)) == [0, 0, 0]


@pytest.mark.parametrize("make", [lambda: torch.arange(24.0).view(4, 6)[:, ::2], lambda: torch.arange(9.0)[3:6]])
def test_view_with_gaps_is_laid_side_by_side(make: Any, session: RealSession) -> None:
    t = watch(make(), name="t")
    assert torch.equal(t, make())
    assert t.is_contiguous()
    t.view(-1)[1] = 77
    assert [new for _, _, new in told(session.records())] == [77]


def test_condition_is_judged_of_each_element(session: RealSession) -> None:
    t = watch(torch.tensor([3, 1]), when="new < 0", then="raise")

    def write() -> None:
        t[1] = -5
        list(range(2))  # torch isn't Python: it is raised at one of the next lines

    with pytest.raises(MutationError, match=r"t\[1\] 1 → -5"):
        write()


REFUSED: dict[str, tuple[Any, str]] = {
    "a parameter": (lambda: torch.nn.Parameter(torch.ones(2)), r"p\.data = watch\(p\.data\)"),
    "with gradients": (lambda: torch.ones(2, requires_grad=True), "gradients"),
    "frozen parameter": (lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False), "a Parameter is more"),
    "sparse": (lambda: torch.eye(3).to_sparse(), "sparse"),
    "of no memory": (lambda: torch.ones(2, device="meta"), "memory is that of meta"),
    "expanded": (lambda: torch.ones(1).expand(4), "overlap"),
    "unfolded": (lambda: torch.arange(8.0).unfold(0, 4, 1), "overlap"),
    "bfloat16": (lambda: torch.ones(2, dtype=torch.bfloat16), "bfloat16 can't be shown"),
    "conjugated": (lambda: torch.ones(2, dtype=torch.complex64).conj(), "conjugated"),
    "shared": (lambda: torch.ones(2).share_memory_(), "shared with other processes"),
    "quantized": (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8), "quantized"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_watched_says_why(make: Any, why: str, session: RealSession) -> None:
    value = make()
    with pytest.raises(WatchError, match=why):
        watch(value, name="t")
