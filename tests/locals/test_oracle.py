# ruff: noqa: E501 - a table of programs, each in a line
"""What is announced is what is executed: each STORE and DELETE instruction of the original code, and no other."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import corpus
import pytest
from announced import announced
from oracle import Oracle, Source


def both(text: str, path: str, run: Any) -> tuple[Oracle, Any, Any, Any]:
    """What the interpreter executes of a module, what its instrumented code announces, and the two results."""
    code = compile(text, path, "exec", dont_inherit=True)
    oracle = Oracle(Source(text, path))
    space: dict[str, Any] = {"__name__": "corpus"}
    exec(code, space)
    expected = oracle.run(lambda: run(space))
    instrumented, taker = announced(code)
    space = {"__name__": "corpus"}
    exec(instrumented, space)
    taker.bound.clear()
    return oracle, expected, taker, run(space)


def first_difference(announced: list[Any], executed: list[Any]) -> str:
    """Both where they part, as assert would show at too great a length."""
    same = next((i for i, (a, b) in enumerate(zip(announced, executed, strict=False)) if a != b), 0)
    return f"announced {announced[same : same + 4]}, executed {executed[same : same + 4]}"


def test_the_corpus_has_more_than_300_functions() -> None:
    assert corpus.COUNT > 300


def test_each_binding_is_announced_once_in_its_order(tmp_path: Path) -> None:
    oracle, expected, taker, got = both(corpus.SOURCE, str(tmp_path / "corpus.py"), lambda space: space["main"]())
    assert got == expected
    assert len(oracle.bound) > 5000
    assert taker.bound == oracle.bound, first_difference(taker.bound, oracle.bound)


USES = {
    "textwrap": "m.wrap('a b ' * 40, 20), m.dedent('  x\\n   y\\n'), m.shorten('hello world', 8), m.indent('a\\nb', '> ')",
    "difflib": "list(m.unified_diff('one two'.split(), 'one three two'.split())), m.get_close_matches('appel', ['ape', 'apple'])",
    "json.decoder": 'm.JSONDecoder(strict=False).decode(\'[1, {"a": [true, null, 1.5e3, "\\\\u00e9\\\\n"]}]\'), '
    "m.py_scanstring('a\\\\tb\"', 0)",
    "json.encoder": "''.join(m.JSONEncoder(indent=2, sort_keys=True).iterencode({'a': [1, (2, None)], 'b': 'x'}))",
    "statistics": "m.mean([1, 2, 4]), m.median_grouped([1, 2, 2, 3]), m.quantiles([1, 5, 9, 10]), m.NormalDist(1, 2).cdf(3)",
    "configparser": "(c := m.ConfigParser(), c.read_string('[a]\\nx = 1\\n  more\\n[b]\\ny: %(z)s\\nz=2'), c['b']['y'], dict(c['a']))[2:]",
    "shlex": "m.split('a \"b c\" d\\\\ e # x', comments=True), m.join(['a b', 'c']), m.quote(\"it's\")",
    "csv": "list(m.DictReader(['a,b', '1,2', '3'])), m.Sniffer().sniff('a;b\\n1;2\\n').delimiter",
    "string": "m.Template('$a ${b} $$').substitute(a=1, b=2), m.Formatter().format('{0!r:>5} {x[0]}', 'y', x=[3])",
    "argparse": "(p := m.ArgumentParser(prog='p', add_help=False), p.add_argument('-n', type=int, default=3), p.add_argument('f', nargs='*'), "
    "p.parse_args(['-n', '5', 'x', 'y']), p.format_usage())[3:]",
    "fractions": "m.Fraction('3/7') + m.Fraction(1.5), m.Fraction('1e-3').limit_denominator(10), str(-m.Fraction(2, 4))",
    "html.parser": "(p := m.HTMLParser(), p.feed('<a href=\"x\">t&amp;<br/></a><!-- c -->'), p.close(), p.getpos())[3]",
    "urllib.parse": "m.urlsplit('http://u:p@h:80/p;q?a=1&b=%20#f'), m.parse_qs('a=1&a=2&b='), m.urljoin('http://a/b/c', '../d'), m.quote('ä /')",
    "tokenize": "[t.string for t in m.generate_tokens(iter(['def f(x):\\n', '  return \"a\"\\n']).__next__)]",
    "pprint": "m.pformat({'a': list(range(30)), 'b': {'c': ('x' * 60, 'y' * 30)}}, width=40)",
    "copy": "m.deepcopy({'a': [1, (2, [3])]}), m.copy([1])",
    "graphlib": "list(m.TopologicalSorter({'d': {'b', 'c'}, 'b': {'a'}, 'c': {'a'}}).static_order())[0::3]",
    "ipaddress": "list(m.ip_network('10.0.0.0/29').hosts()), m.ip_address('::1').exploded, list(m.summarize_address_range(m.ip_address('1.1.1.0'), m.ip_address('1.1.1.9')))",
    "calendar": "m.TextCalendar().formatmonth(2026, 11), m.monthrange(2024, 2)",
    "heapq": "(lambda h: (m.heapify(h), [m.heappop(h) for _ in range(3)], list(m.merge([1, 4], [2, 3], key=lambda x: x)), m.nsmallest(2, [3, 1, 2])))([5, 3, 9, 1])",
    "contextlib": "(lambda s: (s.callback(int), s.close(), s)[1])(m.ExitStack()), [m.nullcontext(1).__enter__()]",
    "dataclasses": "m.asdict(m.make_dataclass('D', [('x', int), ('y', int, m.field(default=2))])(1)), m.fields(m.make_dataclass('E', ['z']))[0].name",
    "random": "(lambda r: (r.shuffle(l := list(range(9))), l, r.sample(range(50), 3), r.choices('abc', k=4), r.gauss(), r.triangular()))(m.Random(7))",
    "enum": "(lambda E: (list(E), E(1), E['B'].value))(m.Enum('E', 'A B')), (lambda F: F.A | F.B)(m.Flag('F', 'A B'))",
    "typing": "str(m.Optional[int]), m.get_args(m.Dict[str, m.List[int]]), m.NamedTuple('N', [('x', int)])(1)",
    "inspect": "str(m.signature(lambda a, *b, c=1, **d: 0)), m.cleandoc('  a\\n    b\\n  c'), m.getfullargspec(lambda x, y=2: 0).args",
    "functools": "m.reduce(lambda a, b: a + b, [1, 2, 3]), sorted([3, 1], key=m.cmp_to_key(lambda a, b: a - b)), m.wraps(len)(lambda x: x)([1])",
    "_pydecimal": "(lambda D: (D('1.10') + D('2'), D(2).sqrt(), D('7').quantize(D('0.01')), D(10) ** -3, str(D('1E+5').normalize())))(m.Decimal)",
    "_strptime": "m._strptime('30 Nov 2026 01:02', '%d %b %Y %H:%M')",
    "email.message": "(lambda e: (e.add_header('A', 'b', c='d'), e.set_payload('x'), e.as_string()))(m.Message())",
    "ast": "m.unparse(m.parse('def f(a, *b): return [x for x in a if x] if b else {1: 2}')), m.dump(m.parse('a = 1'))",
}
"""Modules of the standard library, and what is done with them."""
PARTS = {"ast": "_ast_unparse"}
"""Modules that take classes from them when they are imported: anew each time."""


def use(name: str, text: str, path: str, code: Any) -> Any:
    """What a module does, the code of which is executed anew under its name."""
    module = types.ModuleType(name)
    module.__file__, module.__package__ = path, name.rpartition(".")[0]
    kept = sys.modules.get(name)
    sys.modules[name] = module
    part = sys.modules.pop(PARTS.get(name, ""), None)
    try:
        exec(code, vars(module))
        return repr(eval(text, {"m": module}))
    finally:
        sys.modules.pop(PARTS.get(name, ""), None)
        for one in (kept, part):
            if one is not None:
                sys.modules[one.__name__] = one


@pytest.mark.parametrize("name", USES)
def test_each_binding_of_the_standard_library_is_announced(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    text, path = Path(spec.origin).read_text(), spec.origin
    code = compile(text, path, "exec", dont_inherit=True)
    oracle = Oracle(Source(text, path))
    expected = oracle.run(lambda: use(name, USES[name], path, code))
    instrumented, taker = announced(code)
    got = use(name, USES[name], path, instrumented)
    assert re.sub("0x[0-9a-f]+", "", got) == re.sub("0x[0-9a-f]+", "", expected)
    assert taker.bound == oracle.bound, first_difference(taker.bound, oracle.bound)
    assert taker.bound
