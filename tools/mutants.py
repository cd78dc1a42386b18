"""The mutants of a Python source: one thing of one line changed, as a tool or a slip might.

An operator, a comparison, a constant, a condition (negated), a statement (removed) or the value
returned. Left alone are docstrings, annotations, what only type checkers read, and the texts of
messages.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What the score is counted by: the first pattern that matches a file's path names its area.
AREAS = {
    "gpu": r"yosort/ops/cuda/",
    "ops": r"yosort/ops/",
    "checkpoint": r"yosort/(checkpoint/|conversion|files|foreign|quantized|model/folder)",
    "tasks": r"yosort/tasks/",
    "cli": r"yosort/(cli/|__main__)",
    "tuning": r"yosort/tuning/",
    "machine": r"yosort/machine",
    "tokenizer": r"yosort/tokenizer/",
    "model": r"yosort/",
}

COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"), ast.In: ("in", "not in"), ast.NotIn: (r"not\s+in", "in"),
}  # fmt: skip
OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "+"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"), ast.Pow: ("**", "*"),
    ast.BitXor: ("^", "&"), ast.MatMult: ("@", "*"),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One changed spot of one file; lines count from 1.

    Attributes:
        lines: of its statement, without those of a body.
        called: whether the statement runs within a call only, not as the module is imported.
    """

    file: str
    line: int
    lines: range
    called: bool
    what: str
    before: str
    after: str
    text: bytes

    @property
    def area(self) -> str:
        return next(area for area, pattern in AREAS.items() if re.match(pattern, self.file))

    @property
    def row(self) -> str:
        """Three cells of a Markdown table."""
        return f"| {self.file.removeprefix('yosort/')}:{self.line} | {self.what} | " + " | ".join(
            "`" + re.sub(r"\s+", " ", code)[:100].replace("|", "\\|") + "`"
            for code in (self.before, self.after)
        )


class Spots(ast.NodeVisitor):
    """Collects (what, node or span, replacement) of every mutant of a source."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[tuple[int, int, str, bytes]] = []
        self.visit(ast.parse(source))

    def span(self, node: ast.AST) -> tuple[int, int]:
        begin = self.starts[node.lineno - 1] + node.col_offset
        return begin, self.starts[node.end_lineno - 1] + node.end_col_offset

    def add(self, what: str, span: tuple[int, int], replacement: str | bytes) -> None:
        data = replacement.encode() if isinstance(replacement, str) else replacement
        if data != self.source[slice(*span)]:
            self.found.append((*span, what, data))

    def between(self, left: ast.AST, right: ast.AST, sign: str, other: str, what: str) -> None:
        """Exchange the sign between two operands; parentheses and comments may lie around it."""
        begin, end = self.span(left)[1], self.span(right)[0]
        gap = re.sub(rb"#[^\n]*", lambda text: b" " * len(text[0]), self.source[begin:end])
        pattern = sign if sign[0].isalpha() else re.escape(sign)
        match = re.search(pattern.encode(), gap)
        if match:
            self.add(what, (begin + match.start(), begin + match.end()), other)

    def negate(self, test: ast.expr) -> None:
        begin, end = self.span(test)
        self.add("condition negated", (begin, end), b"(not (" + self.source[begin:end] + b"))")

    def remove(self, node: ast.stmt) -> None:
        begin, end = self.span(node)
        # The lines below keep their numbers.
        breaks = self.source[begin:end].count(b"\n")
        self.add("statement removed", (begin, end), b"pass" + b"\n" * breaks)

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what runs, not what is read: annotations and docstrings are passed over."""
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    def visit_Import(self, node: ast.AST) -> None:
        """Pass over it."""

    visit_ImportFrom = visit_Global = visit_Nonlocal = visit_JoinedStr = visit_Import
    visit_MatchValue = visit_Import

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if not any("overload" in ast.unparse(decorator) for decorator in node.decorator_list):
            self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring, or `...`
        self.remove(node)
        # What a program logs or warns of is text for people.
        if not re.match(r"(logging|logger|warnings)\.", ast.unparse(node)):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        targets = [ast.unparse(target) for target in node.targets]
        aliased = re.match(r"(Union|Callable|TypeVar|Literal)\b", ast.unparse(node.value))
        if targets == ["__all__"] or aliased:
            return
        # Without a first assignment there is a NameError, which tells nothing of the tests.
        if not all(isinstance(target, ast.Name) for target in node.targets):
            self.remove(node)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.remove(node)
        sign, other = OPERATORS[type(node.op)]
        self.between(node.target, node.value, f"{sign}=", f"{other}=", "operator")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.remove(node)  # what it says is text

    def visit_Delete(self, node: ast.stmt) -> None:
        self.remove(node)

    visit_Break = visit_Continue = visit_Delete

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if value is not None:
            constant = isinstance(value, ast.Constant)
            if not (constant and value.value is None):
                self.add("return value", self.span(value), "None")
            self.visit(value)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            return
        self.negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While | ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    visit_IfExp = visit_While

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            self.between(left, right, *COMPARISONS[type(op)], "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.between(node.left, node.right, *OPERATORS[type(node.op)], "operator")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        signs = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, *signs, "operator")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.Not, ast.USub)):
            begin, end = self.span(node)
            self.add("operator", (begin, end), self.source[self.span(node.operand)[0] : end])
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """Pass over texts of help, and over what zip checks: faults that lie elsewhere."""
        if node.arg not in ("strict", "help", "metavar", "description", "epilog"):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            changed = str(not value)
        elif isinstance(value, int):
            changed = str(value + 1)
        elif isinstance(value, float):
            changed = repr(value * 2 or 1.0)
        elif isinstance(value, str) and not re.search(r"\S\s|\s\S", value):  # else it is text
            changed = repr(value + "_")
        elif isinstance(value, bytes):
            changed = repr(value + b"_")
        else:
            return
        self.add("constant", self.span(node), changed)


def statement(tree: ast.AST, line: int) -> tuple[range, bool]:
    """Return the lines of a line's statement, without its body's, and whether a call runs it."""
    lines, called = range(line, line + 1), False
    inner: ast.AST | None = tree
    while inner:
        tree, inner = inner, None
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                above = [part.lineno for part in getattr(node, "decorator_list", ())]
                first = min([getattr(node, "lineno", line), *above])
                body = getattr(node, "body", None)
                if first <= line <= getattr(node, "end_lineno", body[-1].end_lineno if body else 0):
                    inner = node
                    end = body[0].lineno if body else node.end_lineno + 1
                    lines = range(first, max(end, line + 1))
                    called = called or isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef))
    return lines, called


def mutants(file: str) -> list[Mutant]:
    """Return every mutant of a source file."""
    source = (ROOT / file).read_bytes()
    tree = ast.parse(source)
    lines = source.decode().splitlines()
    found = []
    for begin, end, what, replacement in sorted(set(Spots(source).found)):
        text = source[:begin] + replacement + source[end:]
        line = source.count(b"\n", 0, begin)
        after = text[source.rfind(b"\n", 0, begin) + 1 :].partition(b"\n")[0].decode()
        place = statement(tree, line + 1)
        found.append(Mutant(file, line + 1, *place, what, lines[line].strip(), after.strip(), text))
    return found


def compiles(mutant: Mutant) -> bool:
    """Tell whether Python reads a mutant."""
    try:
        compile(mutant.text, mutant.file, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
