"""The few instructions of a pickle that build plain values, carried out without Python's own unpickler.

A pickle is a program: reading it the usual way runs whatever its author put in, and even one that runs
nothing can ask for unlimited time or memory. Here only dicts with names as keys, tuples, strings and numbers
are built; what else a file calls for is handed to ``call``, which knows a fixed list.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

_MOST_INSTRUCTIONS = 3_000_000  # a dictionary of 40,000 genes has some 200,000
_MOST_BYTES = 2**28  # that calls may make: a few bytes of a file can be used again and again
_MOST_BITS = 128
_MOST_BITS_OF_KEYS = 32  # many long numbers can have the same hash, and each is then compared with all before

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_OLD_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}


class RefusedError(Exception):
    """The file asks for something that plain values do not need."""


@dataclass(frozen=True)
class Name:
    """What a file calls for, by module and name; never the object of that name."""

    module: str
    name: str

    def __str__(self) -> str:
        """Module and name as Python writes them, shortened."""
        return f"{self.module}.{self.name}"[:100]


class Machine:
    """Carries out a pickle.

    Parameters
    ----------
    known
        Whether a name may be asked for.
    call
        Makes a value of a known name and its arguments.
    build
        Gives a made value its state.
    persistent
        Makes a value that lies outside the pickle; None where there are none.
    keys
        Types of keys that dicts may have. Others could take for ever to compare.
    lists
        Whether the file may hold lists.
    """

    def __init__(
        self,
        known: Callable[[Name], bool],
        call: Callable[[Name, tuple], Any],
        build: Callable[[Any, Any], None],
        *,
        persistent: Callable[[Any], Any] | None = None,
        keys: tuple[type, ...] = (str,),
        lists: bool = False,
    ) -> None:
        self.known, self.call, self.build, self.persistent = known, call, build, persistent
        self.keys, self.lists = keys, lists
        self.made = 0

    def run(self, stream: BinaryIO) -> Any:
        """Value that the next pickle of a stream describes.

        Raises
        ------
        RefusedError
            If it asks for what it must not have.
        Exception
            Of any type, if it is damaged.
        """
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        for number, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
            if number > _MOST_INSTRUCTIONS:
                raise RefusedError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
            if instruction.name == "STOP":
                return self.stack.pop()
            self._step(instruction.name, argument)
        raise ValueError("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        if name in _LITERALS:
            stack.append(_literal(name, argument))
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            length = int(name[-1])
            parts = stack[-length:]
            if len(parts) < length:
                raise ValueError("a tuple of nothing")
            stack[-length:] = [tuple(parts)]
        elif name in ("EMPTY_DICT", "DICT"):
            items = self._since_mark() if name == "DICT" else []
            stack.append({})
            self._set_items(items)
        elif name == "SETITEM":
            items = [stack.pop(), stack.pop()][::-1]
            self._set_items(items)
        elif name == "SETITEMS":
            self._set_items(self._since_mark())
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(self._name(name, argument))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            if type(called) is not Name or type(arguments) is not tuple:
                raise ValueError("a call of something that has no name")
            stack.append(self._count(self.call(called, arguments)))
        elif name == "BUILD":
            state = stack.pop()
            self.build(stack[-1], state)
            self._count(stack[-1])
        elif name == "BINPERSID" and self.persistent is not None:
            stack.append(self.persistent(stack.pop()))
        elif name in ("EMPTY_LIST", "LIST", "APPEND", "APPENDS") and self.lists:
            self._step_of_lists(name)
        else:
            raise RefusedError(f"it holds the instruction {name}")

    def _step_of_lists(self, name: str) -> None:
        if name in ("EMPTY_LIST", "LIST"):
            self.stack.append(self._since_mark() if name == "LIST" else [])
            return
        items = self._since_mark() if name == "APPENDS" else [self.stack.pop()]
        if type(self.stack[-1]) is not list:
            raise ValueError("an item of something that is no list")
        self.stack[-1].extend(items)

    def _since_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:  # ends with an IndexError where there is none
            items.append(item)
        return items[::-1]

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("an item of something that is no dict")
        self.set_items(target, zip(items[::2], items[1::2], strict=True))

    def set_items(self, target: dict, pairs: Any) -> None:
        """Put pairs of key and value into a dict, each key once."""
        for key, value in pairs:
            if type(key) not in self.keys:
                shown = f"{key!r:.40} " if type(key) in (int, float, bool, bytes) else ""
                raise RefusedError(f"key {shown}is a {type(key).__name__}; names are expected")
            if type(key) is int and key.bit_length() > _MOST_BITS_OF_KEYS:
                raise RefusedError(f"it has a key of {key.bit_length()} bits")
            if key in target:
                raise RefusedError(f"key {str(key)[:60]!r} occurs twice")
            target[key] = value

    def _name(self, instruction: str, argument: Any) -> Name:
        if instruction == "GLOBAL":
            module, _, name = argument.partition(" ")
        else:
            name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is no string")
        asked = Name(module, name)
        if not self.known(asked):
            raise RefusedError(f"it asks for {asked}")
        return asked

    def _count(self, value: Any) -> Any:
        """The value, once its bytes are added to those that were made before."""
        self.made += 4 * len(value) if isinstance(value, bytes | str) else getattr(value, "nbytes", 0)
        if self.made > _MOST_BYTES:
            raise RefusedError(f"it makes values of more than {_MOST_BYTES / 2**20:.0f} MiB")
        return value


def _literal(name: str, argument: Any) -> Any:
    if type(argument) is int and argument.bit_length() > _MOST_BITS:
        raise RefusedError(f"it holds a number of {argument.bit_length():,} bits")
    if name in _OLD_STRINGS and not argument.isascii():
        raise ValueError("text of Python 2 that is not ASCII")
    return argument
