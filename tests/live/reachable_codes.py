"""The codes that a function of the package can end with or tell, found in the syntax trees of what it can call.

From the roots every name that a body mentions is followed: functions, classes, constants of modules, methods by their
name in classes that were mentioned. A code is what is given to a parameter called ``code`` (or ``ends``, as in the
table of troubles), through the constants, tables and variables of the same function; an error that is raised without
one has the code of its class.
"""

from __future__ import annotations

import ast
import re
from functools import cached_property
from importlib import import_module
from pathlib import Path

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
PARAMETERS = ("code", "ends")


class Program:
    """Every module of the package, as trees."""

    def __init__(self, root: Path):
        self.trees = {_module(path, root): ast.parse(path.read_text(encoding="utf-8")) for path in root.rglob("*.py")}
        self.defined = {(name, one.name): one for name, tree in self.trees.items() for one in tree.body if _named(one)}
        self.constants = {
            (name, target.id): one.value
            for name, tree in self.trees.items()
            for one in tree.body
            if isinstance(one, ast.Assign | ast.AnnAssign) and one.value is not None
            for target in (one.targets if isinstance(one, ast.Assign) else [one.target])
            if isinstance(target, ast.Name)
        }

    @cached_property
    def imported(self):
        """Of each module, what a name in it stands for: (module, name), or a module."""
        return {name: dict(self._imports(tree)) for name, tree in self.trees.items()}

    def _imports(self, tree):
        for one in ast.walk(tree):
            if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("assay"):
                for alias in one.names:
                    full = f"{one.module}.{alias.name}"
                    yield alias.asname or alias.name, full if full in self.trees else (one.module, alias.name)

    def resolve(self, module, name):
        """Return the (module, name) that a name in a module stands for, through packages that hand it on."""
        found = self.imported[module].get(name, (module, name))
        while isinstance(found, tuple) and found not in self.defined and found not in self.constants:
            onward = self.imported.get(found[0], {}).get(found[1])
            if onward is None or onward == found:
                return None
            found = onward
        return found


class Reach:
    """What can be called from some roots, without entering some modules."""

    def __init__(self, program: Program, roots, without=()):
        self.program, self.without = program, without
        self.bodies: dict[int, tuple[str, ast.AST]] = {}
        self._classes: list[tuple[str, ast.ClassDef]] = []
        self._attributes: set[str] = set()
        self._open = []
        for module, name in roots:
            self._mention(module, name)
        while self._open:
            self._follow(*self._open.pop())

    def _mention(self, module, name):
        found = self.program.resolve(module, name)
        if not isinstance(found, tuple) or found[0] in self.without:
            return
        one = self.program.defined.get(found)
        if isinstance(one, ast.ClassDef):
            self._add_class(found[0], one)
        elif one is not None or found in self.program.constants:
            self._add(found[0], one if one is not None else self.program.constants[found])

    def _add(self, module, node):
        if id(node) not in self.bodies:
            self.bodies[id(node)] = (module, node)
            self._open.append((module, node))

    def _add_class(self, module, one):
        if any(known is one for _, known in self._classes):
            return
        self._classes.append((module, one))
        for base in one.bases:
            for name in ast.walk(base):
                if isinstance(name, ast.Name):
                    self._mention(module, name.id)
        for part in one.body:
            called = _named(part) and (part.name in self._attributes or re.fullmatch("__.*__", part.name))
            if called or isinstance(part, ast.Assign | ast.AnnAssign):
                self._add(module, part)

    def _follow(self, module, node):
        annotations = {id(inner) for part in ast.walk(node) for hint in _hints(part) for inner in ast.walk(hint)}
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and id(one) not in annotations:
                self._mention(module, one.id)
            elif isinstance(one, ast.Attribute):
                self._attribute(module, one)

    def _attribute(self, module, one):
        if isinstance(one.value, ast.Name):
            there = self.program.imported[module].get(one.value.id)
            if isinstance(there, str):
                self._mention(there, one.attr)
                return
        if one.attr not in self._attributes:
            self._attributes.add(one.attr)
            for owner, known in list(self._classes):
                for part in known.body:
                    if _named(part) and part.name == one.attr:
                        self._add(owner, part)

    # --- codes --------------------------------------------------------------------------------------------------------

    def codes(self):
        """Return the codes of everything that can be called."""
        found = set()
        for module, node in self.bodies.values():
            if (
                isinstance(node, ast.AnnAssign)
                and getattr(node.target, "id", "") in PARAMETERS
                and node.value is not None
            ):
                found |= self._constants(module, node, node.value)
            for one in ast.walk(node):
                if isinstance(one, ast.Call):
                    found |= self._of_call(module, node, one)
        return found

    def _of_call(self, module, body, call):
        given = [word.value for word in call.keywords if word.arg in PARAMETERS]
        callee = self._callee(module, call)
        position = _position(callee)
        if position is not None and len(call.args) > position:
            given.append(call.args[position])
        found = {code for value in given for code in self._constants(module, body, value)}
        if not given and isinstance(callee, ast.ClassDef) and (default := self._default(module, callee)):
            found.add(default)
        return found

    def _callee(self, module, call):
        if isinstance(call.func, ast.Name):
            found = self.program.resolve(module, call.func.id)
            return self.program.defined.get(found) if isinstance(found, tuple) else None
        if isinstance(call.func, ast.Attribute):
            owned = [
                part
                for _, known in self._classes
                for part in known.body
                if _named(part) and part.name == call.func.attr and _position(part) is not None
            ]
            return owned[0] if owned else None
        return None

    def _default(self, module, kind):
        """Return the code of an error's class, '' of any other class."""
        for part in kind.body:
            target = part.targets[0] if isinstance(part, ast.Assign) else None
            if isinstance(target, ast.Name) and target.id == "default_code":
                return part.value.value
        return ""

    def _constants(self, module, body, value, seen=()):
        if isinstance(value, ast.Constant):
            return {value.value} if isinstance(value.value, str) and CODE.fullmatch(value.value) else set()
        if isinstance(value, ast.JoinedStr):
            return self._of_text(module, body, value)
        if isinstance(value, ast.Name):
            return self._of_name(module, body, value.id, seen)
        if isinstance(value, ast.IfExp):
            parts = [value.body, value.orelse]
        elif isinstance(value, ast.Dict):
            parts = [part for part in value.values if part is not None]
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            parts = [value.func.value, *value.args[1:]]  # TABLE.get(key, default), dict.fromkeys(keys, value)
        else:
            parts = list(ast.iter_child_nodes(value)) if isinstance(value, ast.Subscript | ast.BoolOp) else []
        return {code for part in parts for code in self._constants(module, body, part, seen)}

    def _of_name(self, module, body, name, seen):
        if name in seen:
            return set()
        found = set()
        for one in ast.walk(body):
            if isinstance(one, ast.Assign):
                for target in one.targets:
                    found |= self._assigned(module, body, target, one.value, name, (*seen, name))
        where = self.program.resolve(module, name)
        if isinstance(where, tuple) and where in self.program.constants:
            found |= self._constants(where[0], body, self.program.constants[where], (*seen, name))
        return found

    def _assigned(self, module, body, target, value, name, seen):
        if isinstance(target, ast.Name) and target.id == name:
            return self._constants(module, body, value, seen)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=False)
            return {code for t, v in pairs for code in self._assigned(module, body, t, v, name, seen)}
        return set()

    def _of_text(self, module, body, value):
        """Return the codes of a beginning and each key of the table that a loop of the function goes through."""
        begin, *rest = value.values
        if not isinstance(begin, ast.Constant) or len(rest) != 1 or not isinstance(rest[0].value, ast.Name):
            return set()
        found = set()
        for loop in (one for one in ast.walk(body) if isinstance(one, ast.comprehension | ast.For)):
            if rest[0].value.id in {name.id for name in ast.walk(loop.target) if isinstance(name, ast.Name)}:
                for name in (name for name in ast.walk(loop.iter) if isinstance(name, ast.Name)):
                    where = self.program.resolve(module, name.id)
                    if isinstance(where, tuple) and where in self.program.constants:
                        found |= {begin.value + key for key in getattr(import_module(where[0]), where[1])}
        return found


def _module(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join((root.name, *parts)).removesuffix(".__init__")


def _named(node):
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _hints(node):
    """Annotations: what is only written there is not called."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.returns] if node.returns is not None else []
    hint = getattr(node, "annotation", None)
    return [hint] if isinstance(hint, ast.AST) else []


def _position(callee):
    """Return where a call gives the code, among the arguments without names."""
    if isinstance(callee, ast.ClassDef):
        made = [part for part in callee.body if _named(part) and part.name == "__init__"]
        if made:
            return _position(made[0])
        names = [part.target.id for part in callee.body if isinstance(part, ast.AnnAssign)]
    elif callee is None:
        return None
    else:
        names = [one.arg for one in callee.args.args if one.arg != "self"]
    return next((i for i, name in enumerate(names) if name in PARAMETERS), None)
