# The process that runs the dataset's test and holds the verdict. It never runs a line of the candidate's code: the functions
# under test are stand-ins here that send their arguments over and take a plain value back.

# Modules that a test may use through an import that the candidate made. The test gets this process's own copy.
SHARED_MODULES = frozenset(
    "array bisect calendar cmath collections copy datetime decimal fractions functools heapq itertools json math numbers operator random "
    "re statistics string sys time typing unicodedata".split())


class Stop(BaseException):
    """Ends the test: the candidate is gone or has sent what cannot cross."""


class Tester:
    def __init__(self, job, incoming, outgoing):
        self.incoming = incoming
        self.outgoing = outgoing
        self.limit = job["message_bytes"]
        self.fault = None
        self.refreshed = []
        self.namespace = {}

    def stop(self, reason, kind=b"F"):
        if self.fault is None:
            self.fault = (kind, reason)
        raise Stop

    def receive(self):
        try:
            return read_frame(self.incoming, self.limit + 1024)
        except Closed:
            self.stop("", b"C")
        except Malformed as error:
            self.stop("the program's answer cannot cross: %s" % error)

    def send(self, payload):
        try:
            write_frame(self.outgoing, payload)
        except Closed:
            self.stop("", b"C")

    def read(self, reader, read):
        try:
            return decode(reader, read)
        except Malformed as error:
            self.stop("the program's answer cannot cross: %s" % error)

    def exception(self, reader):
        """An exception of the candidate's, by kind: the nearest built-in kind, with the message."""
        value = self.read(reader, Reader.value)
        if not (type(value) is tuple and len(value) == 3 and type(value[0]) is list and type(value[1]) is str and type(value[2]) is str):
            self.stop("the program's answer cannot cross: an exception without a kind")
        for name in value[0]:
            kind = BUILTIN_EXCEPTIONS.get(name) if type(name) is str else None
            if kind is not None:
                try:
                    error = kind(value[2])
                    error.candidate_kind = value[1]
                    error.candidate_message = value[2]
                    return error
                except Exception:
                    continue
        self.stop("the program's answer cannot cross: an exception without a kind")

    def start(self):
        """Waits until the candidate's top level has run."""
        reply = self.receive()
        if reply[:1] == b"X":
            raise self.exception(Reader(reply, [], 1))
        if reply != b"R":
            self.stop("the program's answer cannot cross: an unknown message")

    def describe(self, names):
        writer = Writer([], self.limit)
        writer.value(names)
        self.send(b"N" + writer.out)
        reply = self.receive()
        if reply[:1] != b"D":
            self.stop("the program's answer cannot cross: an unknown message")
        return self.read(Reader(reply, [], 1), lambda reader: self.descriptions(reader, names))

    def descriptions(self, reader, names):
        if reader.length() != len(names):
            raise Malformed("not as many names as asked for")
        found = []
        for name in names:
            tag = reader.take(1)
            if tag == b"-":
                continue
            if tag not in (b"m", b"v", b"u", b"c"):
                raise Malformed("an unknown kind of name")
            found.append((name, tag, None if tag == b"c" else reader.value()))
        return found

    def bind(self, names, entry_point):
        """Gives the test the names that the candidate defines, as far as they can cross."""
        found = self.describe(names)
        under_test = [name for name, kind, _ in found if kind == b"c"]
        only_builtins = all(name in BUILTIN_NAMES for name in under_test)
        for name, kind, value in found:
            # A built-in that the candidate redefines keeps its meaning in the test, unless it is the function under test.
            if name in BUILTIN_NAMES and name != entry_point and not (kind == b"c" and only_builtins):
                continue
            if kind == b"c":
                self.namespace[name] = self.stand_in(name)
            elif kind == b"m":
                if type(value) is str and value in SHARED_MODULES:
                    self.namespace[name] = __import__(value)
            elif kind == b"v":
                self.namespace[name] = value
                if isinstance(value, (list, dict, set, bytearray)):
                    self.refreshed.append(name)
            else:
                self.namespace[name] = Absent(self, name, value if type(value) is str else "")

    def stand_in(self, name):
        def function(*arguments, **keywords):
            return self.call(name, arguments, keywords)

        function.__name__ = function.__qualname__ = name
        return function

    def call(self, name, arguments, keywords):
        table = []
        writer = Writer(table, self.limit)
        writer.sized(b"C", name.encode("utf-8", "surrogatepass"))
        try:
            writer.value(arguments)
            writer.pairs(b"", list(keywords.items()), 0)
        except (CannotCross, RecursionError) as error:
            self.stop("an argument of the test cannot cross: %s" % error)
        self.send(writer.out)
        reply = self.receive()
        given = len(table)
        reader = Reader(reply, table, 1)
        tag = reply[:1]
        error = result = None
        if tag == b"V":
            result = self.read(reader, Reader.value)
        elif tag == b"X":
            separate = Reader(reply, [], 1)
            error = self.exception(separate)
            reader.at = separate.at
        elif tag == b"U":
            what = self.read(reader, Reader.value)
            self.stop("the result of %s cannot cross: %s" % (name, what if type(what) is str else "?"))
        else:
            self.stop("the program's answer cannot cross: an unknown message")
        self.take_changes(reader, table, given)
        if self.refreshed:
            for name, kind, value in self.describe(self.refreshed):
                if kind == b"v" and type(value) is type(self.namespace.get(name)):
                    refill(self.namespace[name], value.items() if isinstance(value, dict) else value)
        if error is not None:
            raise error
        return result

    def take_changes(self, reader, table, given):
        tag = self.read(reader, lambda reader: reader.take(1))
        if tag == b"*":
            if self.read(reader, Reader.length) != given:
                self.stop("the program's answer cannot cross: changes to other arguments than were sent")
            contents = self.read(reader, lambda reader: read_changes(reader, given))
            for number, content in enumerate(contents):
                self.read(reader, lambda reader: refill(table[number], content))
        elif tag != b"=":
            self.stop("the program's answer cannot cross: an unknown message")
        if reader.at != len(reader.data):
            self.stop("the program's answer cannot cross: more than an answer")


class Absent:
    """A name of the candidate's whose value cannot cross: any use of it ends the test with that reason."""

    __slots__ = ("_tester", "_reason")

    def __init__(self, tester, name, what):
        object.__setattr__(self, "_tester", tester)
        object.__setattr__(self, "_reason", "the name %s cannot cross: %s" % (name, what))


def _refuse(self, *_):
    object.__getattribute__(self, "_tester").stop(object.__getattribute__(self, "_reason"))


for _name in ("getattribute setattr call eq ne lt le gt ge bool len iter next contains getitem setitem hash repr str add radd sub rsub mul "
              "rmul index int float enter exit").split():
    setattr(Absent, "__%s__" % _name, _refuse)


def names_used(code):
    """Every name that a code object and those inside it mention."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            names |= names_used(constant)
    return names


def describe_error(error):
    kind = getattr(error, "candidate_kind", type(error).__name__)
    try:
        text = getattr(error, "candidate_message", None)
        text = str(error) if text is None else text
    except BaseException:
        text = ""
    return ("%s: %s" % (kind, text) if text else kind)[:1000]


def tester(job, incoming, outgoing, verdict):
    global BUILTIN_EXCEPTIONS, BUILTIN_NAMES
    import builtins
    BUILTIN_NAMES = frozenset(name for name in vars(builtins) if not name.startswith("__"))
    BUILTIN_EXCEPTIONS = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}
    nonce = job["nonce"]
    swallow_output()
    run = Tester(job, incoming, outgoing)

    def report(kind, reason=""):
        write_frame(verdict, nonce + kind + reason.encode("utf-8", "replace"))

    try:
        greeting = read_frame(incoming, 16)
    except Closed:
        report(b"E", "the candidate's interpreter did not start")
        return
    if greeting != b"H":
        report(b"E", "the candidate's interpreter started with an unknown message")
        return
    report(b"S")
    try:
        run.send(b"G")
        run.start()
        code = compile(job["test"], "<string>", "exec", dont_inherit=True)
        namespace = run.namespace
        entry_point = job["entry_point"]
        if ("\n" + job["helpers"]).count("\ndef ") > 1:
            exec(compile(job["helpers"], "<helpers>", "exec", dont_inherit=True), namespace)
            namespace.pop(entry_point, None)
        names = sorted(name for name in names_used(code) if name not in namespace)
        if names:
            run.bind(names, entry_point)
        exec(code, namespace)
    except Stop:
        pass
    except BaseException as error:
        run.fault = run.fault or (b"F", describe_error(error))
    # Without a test, passing only says that the program says it reached its end.
    report(*(run.fault or (b"P", "" if job["test"].strip() else "no test was found; the program ran to its end")))
