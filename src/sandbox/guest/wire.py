# Values and frames between the two isolated processes. Never pickle: a frame is a length and a tagged tree of plain values,
# and the reader builds nothing but those, so the worst that a hostile writer can send is a wrong plain value.
#
# A frame: four bytes (little-endian length), then the payload; its first byte says what it is.
# A value: one tag byte, then as the tag says. Mutable containers are numbered in the order in which they begin, over the whole
# conversation of one call, so that sharing, cycles and changes made in place come out as in one process.

import sys
import posix

MAX_DEPTH = 150
MAX_ITEMS = 4000000


class CannotCross(Exception):
    """A value that is no plain value."""


class Malformed(Exception):
    """Bytes that no honest writer sends."""


class Closed(Exception):
    """The other side is gone."""


def write_all(fd, data):
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(fd, view):]
        except BrokenPipeError:
            raise Closed from None


def write_frame(fd, payload):
    write_all(fd, len(payload).to_bytes(4, "little") + payload)


def read_exactly(fd, n):
    parts = []
    while n:
        part = posix.read(fd, min(n, 1 << 20))
        if not part:
            raise Closed
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def read_frame(fd, limit):
    n = int.from_bytes(read_exactly(fd, 4), "little")
    if n == 0 or n > limit:
        raise Malformed("an answer of %d bytes (the limit is %d)" % (n, limit))
    return read_exactly(fd, n)


def _length(n):
    return n.to_bytes(4, "little")


def _float(x):
    return float.hex(x).encode() if x == x else b"nan"


def module_type(value, module, name):
    """Whether value is an instance of a class of a module that has been loaded (no import: a value of it proves the load)."""
    loaded = sys.modules.get(module)
    kind = getattr(loaded, name, None) if loaded is not None else None
    return isinstance(kind, type) and isinstance(value, kind)


_ITERATORS = tuple(
    type(x) for x in (iter([]), iter(()), iter({}), iter({}.values()), iter({}.items()), iter(set()), iter(""), iter(b""), iter(range(0)),
                      reversed([]), iter(range(1 << 70)), reversed({}), reversed({}.values()), reversed({}.items()))
) + (map, filter, zip, enumerate, reversed, type(x for x in ()))


class Writer:
    """Encodes values; `table` holds the mutable containers by their numbers and keeps them alive."""

    def __init__(self, table, limit):
        self.table = table
        self.numbers = {id(value): number for number, value in enumerate(table)}
        self.limit = limit
        self.items = 0
        self.out = bytearray()

    def number(self, value):
        """True if the container still has to be written out."""
        known = self.numbers.get(id(value))
        if known is not None:
            self.out += b"R" + _length(known)
            return False
        self.numbers[id(value)] = len(self.table)
        self.table.append(value)
        return True

    def sized(self, tag, data):
        self.out += tag + _length(len(data)) + data

    def many(self, tag, values, depth):
        self.out += tag + _length(len(values))
        for value in values:
            self.value(value, depth)

    def pairs(self, tag, values, depth):
        self.out += tag + _length(len(values))
        for key, value in values:
            self.value(key, depth)
            self.value(value, depth)

    def value(self, value, depth=0):
        self.items += 1
        if self.items > MAX_ITEMS or len(self.out) > self.limit:
            raise CannotCross("a value that is too large")
        if depth > MAX_DEPTH:
            raise CannotCross("a value that is nested too deeply")
        depth += 1
        if value is None:
            self.out += b"N"
        elif value is True:
            self.out += b"T"
        elif value is False:
            self.out += b"F"
        elif isinstance(value, int):
            value = int.__int__(value)
            if -128 <= value < 128:
                self.out += b"i" + value.to_bytes(1, "little", signed=True)
            else:
                self.sized(b"I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
        elif isinstance(value, str):
            self.sized(b"S", str.encode(value, "utf-8", "surrogatepass"))
        elif isinstance(value, float):
            self.sized(b"D", _float(float.__float__(value)))
        elif isinstance(value, tuple):
            self.many(b"t", tuple.__getitem__(value, slice(None)), depth)
        elif isinstance(value, list):
            if self.number(value):
                self.many(b"l", list.__getitem__(value, slice(None)), depth)
        elif isinstance(value, dict):
            if self.number(value):
                pairs = [(key, dict.__getitem__(value, key)) for key in dict.__iter__(value)]
                if module_type(value, "collections", "OrderedDict"):
                    pairs = list(sys.modules["collections"].OrderedDict.items(value))
                    self.pairs(b"o", pairs, depth)
                elif module_type(value, "collections", "Counter"):
                    self.pairs(b"k", pairs, depth)
                else:
                    self.pairs(b"d", pairs, depth)
        elif isinstance(value, set):
            if self.number(value):
                self.many(b"s", list(set.__iter__(value)), depth)
        elif isinstance(value, frozenset):
            self.many(b"z", list(frozenset.__iter__(value)), depth)
        elif isinstance(value, bytes):
            self.sized(b"B", bytes.__getitem__(value, slice(None)))
        elif isinstance(value, bytearray):
            if self.number(value):
                self.sized(b"A", bytes(memoryview(value)))
        elif isinstance(value, complex):
            self.sized(b"C", _float(value.real) + b" " + _float(value.imag))
        elif value is Ellipsis:
            self.out += b"E"
        elif isinstance(value, range):
            self.out += b"r"
            for part in (value.start, value.stop, value.step):
                self.value(part, depth)
        elif module_type(value, "collections", "deque"):
            if self.number(value):
                self.out += b"q"
                self.value(value.maxlen, depth)
                self.many(b"t", list(value), depth)
        elif module_type(value, "decimal", "Decimal"):
            self.sized(b"M", sys.modules["decimal"].Decimal.__str__(value).encode())
        elif module_type(value, "fractions", "Fraction"):
            self.out += b"f"
            self.value(value.numerator, depth)
            self.value(value.denominator, depth)
        elif isinstance(value, type({}.keys())):
            self.many(b"K", list(value), depth)
        elif isinstance(value, type({}.values())):
            self.many(b"V", list(value), depth)
        elif isinstance(value, type({}.items())):
            self.pairs(b"P", list(value), depth)
        elif isinstance(value, _ITERATORS) or type(value).__module__ == "itertools":
            self.many(b"G", self.drained(value), depth)
        else:
            raise CannotCross("a value of type %s" % type(value).__name__)

    def drained(self, iterator):
        values = []
        for value in iterator:
            values.append(value)
            if len(values) > MAX_ITEMS:
                raise CannotCross("an iterator without end")
        return values


class Reader:
    """Decodes values, defensively: every length is checked before it is used. `table` as in Writer."""

    def __init__(self, data, table, start=0):
        self.data = data
        self.at = start
        self.table = table
        self.items = 0

    def take(self, n):
        end = self.at + n
        if end > len(self.data):
            raise Malformed("a value that is cut off")
        part = self.data[self.at:end]
        self.at = end
        return part

    def length(self):
        return int.from_bytes(self.take(4), "little")

    def sized(self):
        return self.take(self.length())

    def count(self, each):
        n = self.length()
        if n * each > len(self.data) - self.at:
            raise Malformed("a container that is cut off")
        return n

    def many(self, depth):
        return [self.value(depth) for _ in range(self.count(1))]

    def pairs(self, depth):
        return [(self.value(depth), self.value(depth)) for _ in range(self.count(2))]

    def float(self):
        return self.parse_float(self.sized())

    def parse_float(self, text):
        return float.fromhex(text.decode("ascii"))

    def keep(self, container):
        self.table.append(container)
        return container

    def text(self):
        return self.sized().decode("utf-8", "surrogatepass")

    def value(self, depth=0):
        self.items += 1
        if self.items > MAX_ITEMS * 2 or depth > MAX_DEPTH + 2:
            raise Malformed("a value that is too large")
        depth += 1
        tag = self.take(1)
        if tag == b"N":
            return None
        if tag == b"T":
            return True
        if tag == b"F":
            return False
        if tag == b"i":
            return int.from_bytes(self.take(1), "little", signed=True)
        if tag == b"I":
            return int.from_bytes(self.sized(), "little", signed=True)
        if tag == b"S":
            return self.text()
        if tag == b"D":
            return self.float()
        if tag == b"t":
            return tuple(self.many(depth))
        if tag == b"l":
            result = self.keep([])
            result.extend(self.many(depth))
            return result
        if tag == b"d":
            result = self.keep({})
            result.update(self.pairs(depth))
            return result
        if tag == b"o":
            import collections
            result = self.keep(collections.OrderedDict())
            for key, value in self.pairs(depth):
                result[key] = value
            return result
        if tag == b"k":
            import collections
            result = self.keep(collections.Counter())
            for key, value in self.pairs(depth):
                dict.__setitem__(result, key, value)
            return result
        if tag == b"s":
            result = self.keep(set())
            result.update(self.many(depth))
            return result
        if tag == b"z":
            return frozenset(self.many(depth))
        if tag == b"B":
            return bytes(self.sized())
        if tag == b"A":
            return self.keep(bytearray(self.sized()))
        if tag == b"C":
            real, _, imaginary = self.sized().partition(b" ")
            return complex(self.parse_float(real), self.parse_float(imaginary))
        if tag == b"E":
            return Ellipsis
        if tag == b"r":
            return range(self.integer(depth), self.integer(depth), self.integer(depth))
        if tag == b"q":
            import collections
            number = len(self.table)
            self.table.append(None)
            longest = self.value(depth)
            if longest is not None and (type(longest) is not int or longest < 0):
                raise Malformed("a deque without a size")
            result = collections.deque(maxlen=longest)
            self.table[number] = result
            result.extend(self.tuple(depth))
            return result
        if tag == b"M":
            import decimal
            return decimal.Decimal(self.sized().decode("ascii"))
        if tag == b"f":
            import fractions
            return fractions.Fraction(self.integer(depth), self.integer(depth))
        if tag == b"K":
            return dict.fromkeys(self.many(depth)).keys()
        if tag == b"V":
            return dict(enumerate(self.many(depth))).values()
        if tag == b"P":
            return dict(self.pairs(depth)).items()
        if tag == b"G":
            return iter(self.many(depth))
        if tag == b"R":
            number = self.length()
            if number >= len(self.table) or self.table[number] is None:
                raise Malformed("a reference to nothing")
            return self.table[number]
        raise Malformed("an unknown tag")

    def integer(self, depth):
        value = self.value(depth)
        if type(value) is not int:
            raise Malformed("no integer where one is due")
        return value

    def tuple(self, depth):
        value = self.value(depth)
        if type(value) is not tuple:
            raise Malformed("no tuple where one is due")
        return value


def decode(reader, read):
    """Runs `read`, turning every way in which hostile bytes can fail into Malformed."""
    try:
        return read(reader)
    except Malformed:
        raise
    except (MemoryError, RecursionError):
        raise Malformed("a value that is too large") from None
    except Exception as error:
        raise Malformed("a value that cannot be (%s)" % type(error).__name__) from None


def read_changes(reader, given):
    """The new contents of numbered containers, as plain lists of what they hold (see `content` on the other side)."""
    contents = []
    for _ in range(given):
        tag = reader.take(1)
        if tag == b"d":
            contents.append(reader.pairs(1))
        elif tag == b"A":
            contents.append(bytes(reader.sized()))
        elif tag in (b"l", b"s"):
            contents.append(reader.many(1))
        else:
            raise Malformed("an unknown content")
    return contents


def refill(target, content):
    """Gives a container its new content, in place: the object that the test holds stays the same object."""
    if isinstance(target, (list, bytearray)):
        target[:] = content
    else:
        target.clear()
        if isinstance(target, (dict, set)):
            target.update(content)
        else:
            target.extend(content)


def swallow_output():
    import io

    class Unreadable(io.StringIO):
        """What code_eval puts in place of the standard streams: reading fails."""

        def read(self, *arguments, **keywords):
            raise OSError

        def readline(self, *arguments, **keywords):
            raise OSError

        def readlines(self, *arguments, **keywords):
            raise OSError

        def readable(self, *arguments, **keywords):
            return False

        def write(self, text):
            return len(text) if isinstance(text, str) else io.StringIO.write(self, text)

    sys.stdin = Unreadable()
    sys.stdout = Unreadable()
    sys.stderr = Unreadable()


def message(error):
    try:
        return str(error)[:2000]
    except BaseException:
        return ""
